//! The rates of the last minutes, a point a second, and the small graph of them.

use std::collections::VecDeque;

/// How many seconds are kept: as many as the widest graph has columns.
pub(super) const SECONDS_MAX: usize = 120;

/// Bytes per second, the newest last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Recent(VecDeque<f64>);

impl Recent {
    /// Adds what was measured over so many seconds. The kernel went on counting where nobody looked, so a longer time has
    /// its average in each of its seconds.
    pub(super) fn push(&mut self, bytes_per_second: f64, seconds: f64) {
        let points = seconds.round().clamp(1.0, SECONDS_MAX as f64) as usize;
        for _ in 0..points {
            if self.0.len() == SECONDS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(bytes_per_second);
        }
    }

    /// The newest points as characters, the newest at the right, in so many columns. `levels` go from nothing to the most;
    /// the highest point shown has the last one, and what is more than nothing never the first.
    pub(super) fn graph(&self, columns: usize, levels: &[char]) -> String {
        let shown: Vec<f64> = self.0.iter().rev().take(columns).rev().copied().collect();
        let most = shown.iter().copied().fold(0.0, f64::max);
        let (nothing, highest) = (levels.first().copied().unwrap_or(' '), levels.len().saturating_sub(1));
        let mut text = " ".repeat(columns - shown.len());
        text.extend(shown.iter().map(|&rate| {
            if rate <= 0.0 || most <= 0.0 {
                return nothing;
            }
            let level = (rate / most * highest as f64).ceil() as usize;
            levels.get(level.clamp(1, highest)).copied().unwrap_or(nothing)
        }));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [char; 5] = [' ', '1', '2', '3', '4'];

    fn recent(rates: &[f64]) -> Recent {
        let mut recent = Recent::default();
        for &rate in rates {
            recent.push(rate, 1.0);
        }
        recent
    }

    #[test]
    fn a_graph_has_the_newest_at_the_right_and_its_own_scale() {
        let recent = recent(&[8.0, 0.0, 0.1, 1.0, 2.0, 4.0]);
        assert_eq!(recent.graph(8, &LEVELS), "  4 1112");
        assert_eq!(recent.graph(4, &LEVELS), "1124");
        assert_eq!(recent.graph(0, &LEVELS), "");
        assert_eq!(Recent::default().graph(3, &LEVELS), "   ");
        assert_eq!(super::tests::recent(&[0.0, 0.0]).graph(3, &LEVELS), "   ");
    }

    #[test]
    fn a_time_nobody_looked_has_its_average() {
        let mut recent = recent(&[4.0]);
        recent.push(2.0, 3.2);
        assert_eq!(recent.graph(5, &LEVELS), " 4222");
        recent.push(1.0, 1.0e9);
        assert_eq!(recent.0.len(), SECONDS_MAX);
        recent.push(1.0, 0.2);
        assert_eq!(recent.0.len(), SECONDS_MAX);
    }
}
