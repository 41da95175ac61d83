//! The metrics of a gateway that runs apart from its agent: its requests, its process, its build.

use std::fmt;

use portmeter_metrics::{Build, Figures, Format, Page, Process, text};

use crate::requests::RequestFigures;

/// Room for the rows of every route, so that a page is made without copying it.
const PAGE_BYTES: usize = 64 * 1024;

/// The answer to a scrape of a gateway of its own.
pub(crate) fn page(requests: RequestFigures, format: Format) -> Result<String, fmt::Error> {
    let scrape = Scrape {
        requests,
        process: Process::read(),
    };
    text(scrape, format, PAGE_BYTES)
}

struct Scrape {
    requests: RequestFigures,
    process: Process,
}

impl Figures for Scrape {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.requests.write(page)?;
        self.process.write(page)?;
        let build = Build {
            version: env!("CARGO_PKG_VERSION"),
        };
        build.write(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told elsewhere as well is told by the same names.
    #[test]
    fn a_page_names_what_is_told_and_nothing_else() {
        let text = page(RequestFigures::default(), Format::Prometheus).unwrap();
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let families = [
            crate::REQUEST_FAMILIES.as_slice(),
            &portmeter_metrics::PROCESS_FAMILIES,
            &portmeter_metrics::BUILD_FAMILIES,
        ];
        let told: Vec<String> = families.concat().iter().map(|family| family.name()).collect();
        assert_eq!(names, told);
    }
}
