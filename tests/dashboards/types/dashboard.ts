// The type of a dashboard file: Grafana's published types, completed where they leave something
// open. These are the options and custom fields of each panel type, the properties that an override
// can set, and the queries of the Prometheus data source.
import type { DataQuery, TableFieldOptions } from "@grafana/schema";
import type {
  AnnotationQuery,
  Dashboard,
  FieldConfig,
  Panel,
  RowPanel,
  VariableModel,
  VariableOption,
} from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as Text from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// Replaces enums by the strings and numbers that JSON has in their place.
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : T
    : T extends object
      ? { [K in keyof T]: Json<T[K]> }
      : T;

// Types that @grafana/schema does not have: queries and annotations of the Prometheus data source,
// data links, and the options of transformations.
type Prometheus = Omit<DataQuery, "datasource"> & {
  datasource: { type: "prometheus"; uid: string };
  editorMode: "code";
  expr: string;
  format: "time_series" | "table";
  instant: boolean;
  legendFormat?: string;
  range: boolean;
};
type Annotation = Omit<AnnotationQuery, "target"> & {
  target?: {
    expr: string;
    instant: boolean;
    interval: string;
    legendFormat: string;
    range: boolean;
    refId: string;
  };
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
};
type Variable = Omit<VariableModel, "current"> & {
  current?: VariableOption | Record<string, never>;
  definition?: string;
};
type DataLink = { targetBlank?: boolean; title: string; url: string };
type Transformation =
  | { id: "merge"; options: Record<string, never> }
  | {
      id: "convertFieldType";
      options: {
        conversions: { destinationType: "number" | "string" | "time"; targetField: string }[];
        fields: Record<string, never>;
      };
    }
  | {
      id: "organize";
      options: {
        excludeByName: Record<string, boolean>;
        includeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    };

type Defaults<Custom> = Omit<FieldConfig, "custom" | "links"> & { links?: DataLink[] } & (
    Custom extends null ? { custom?: Record<string, never> } : { custom: Custom }
  );
// The properties that set one of the fields: the name of the field with a prefix, and its value.
type Property<Fields, Prefix extends string> = {
  [K in keyof Fields & string]-?: { id: `${Prefix}${K}`; value: NonNullable<Fields[K]> };
}[keyof Fields & string];
type Override<Custom> = {
  matcher: { id: "byName" | "byRegexp" | "byFrameRefID"; options: string };
  properties: (
    | Property<Omit<FieldConfig, "custom" | "links"> & { links?: DataLink[] }, "">
    | (Custom extends null ? never : Property<Custom, "custom.">)
  )[];
};
type PanelOf<Type extends string, Options, Custom> = Omit<
  Panel,
  "fieldConfig" | "options" | "targets" | "transformations" | "type"
> & {
  fieldConfig: { defaults: Defaults<Custom>; overrides: Override<Custom>[] };
  options: Options;
  targets: Prometheus[];
  transformations?: Transformation[];
  type: Type;
};
type AnyPanel =
  | PanelOf<"bargauge", BarGauge.Options, null>
  | PanelOf<"stat", Stat.Options, null>
  | PanelOf<"state-timeline", StateTimeline.Options, StateTimeline.FieldConfig>
  | PanelOf<"table", Table.Options, TableFieldOptions>
  | PanelOf<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>
  | (Omit<Panel, "options" | "type"> & { options: Text.Options; type: "text" });

export type DashboardFile = Json<
  Omit<Dashboard, "annotations" | "panels" | "templating"> & {
    annotations: { list: Annotation[] };
    panels: (AnyPanel | (Omit<RowPanel, "panels"> & { panels: AnyPanel[] }))[];
    templating: { list: Variable[] };
  }
>;
