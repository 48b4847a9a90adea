//! Writes that are refused, or that do not survive.

use std::time::Duration;

use tests::{Disk, Redis, deployment, eventually};

use crate::story::{Scenario, Story, Told};

pub(crate) const ALL: &[Scenario] = &[Scenario { row: 24, name: "append_only_file_on_a_full_disk", quick: true, run: aof_on_a_full_disk }];

const SOON: Duration = Duration::from_secs(20);

fn aof_on_a_full_disk() -> Told {
    let disk = Disk::of(2);
    let server = Redis::start(&["--appendonly", "yes", "--dir", &disk.folder()]);
    let story = Story::begin(&deployment("a", &[&server]));
    let fill = |_: &Story| {
        disk.fill();
        eventually(SOON, "writes are refused", || server.cli(&["SET", "key", &"x".repeat(5000)]).contains("MISCONF").then_some(()));
    };
    let faulty = story.fault(fill, &[("RedisAofWriteFailing", "critical")]);
    faulty.mend(|_| disk.free(), &[])
}
