//! Measurements of processes and of the machine.

use tests::Stopwatch;

/// Returns the median duration of nine scrapes, from the request to the last byte, in milliseconds.
pub(crate) fn median_scrape(port: u16, encoding: &str) -> f64 {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let begun = Stopwatch::start();
            let mut response = ureq::get(format!("http://127.0.0.1:{port}/metrics"))
                .header("Accept-Encoding", encoding)
                .call()
                .expect("no response");
            // Do not decompress, since the exporter does not either.
            let mut bytes = response.body_mut().with_config().limit(1 << 30).reader();
            std::io::copy(&mut bytes, &mut std::io::sink()).expect("cannot read the response");
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the processor time of all threads of a process, user and system, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok();
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).expect("cannot list the threads");
    let of = |text: String| text.split(' ').next()?.parse::<f64>().ok();
    let sum: f64 = threads
        .filter_map(|thread| {
            of(std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?)
        })
        .sum();
    sum.max(stat.and_then(of).unwrap_or_default()) / 1e9
}

/// Returns the highest resident memory of a process since [`reset_peak`], in kilobytes.
pub(crate) fn peak_kilobytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"));
    let text = text.expect("cannot read the process");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM is missing");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Starts a new measurement of the highest resident memory of a process.
pub(crate) fn reset_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("cannot reset the peak");
}

/// Returns the load average of the last minute.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("cannot read the load");
    text.split(' ').next().and_then(|load| load.parse().ok()).expect("a number")
}
