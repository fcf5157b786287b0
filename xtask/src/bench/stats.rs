// SPDX-License-Identifier: MIT OR Apache-2.0
//! What several runs of one number say. Pure.

use super::model::{Ratio, Spread};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Median and extremes; `None` of nothing.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Spread {
        median,
        low,
        high,
        runs: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
    })
}

/// How many times as much `values` are as `reference`, each measured in turn with the other: the
/// geometric mean of the pairs' ratios, and its 95 % confidence interval by Student's t.
///
/// Noise that lasts longer than a turn falls on both of a pair and cancels out. Ratios multiply, so
/// their logarithms are what is nearly normal.
pub fn ratio(values: &[f64], reference: &[f64]) -> Option<Ratio> {
    let logs: Vec<f64> = values
        .iter()
        .zip(reference)
        .filter(|(value, reference)| **value > 0.0 && **reference > 0.0)
        .map(|(value, reference)| (value / reference).ln())
        .collect();
    let count = f64::from(u32::try_from(logs.len()).ok()?);
    let mean = logs.iter().sum::<f64>() / count;
    if logs.len() < 2 {
        return None;
    }
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    let t = StudentsT::new(0.0, 1.0, count - 1.0)
        .ok()?
        .inverse_cdf(0.975);
    Some(Ratio {
        ratio: mean.exp(),
        low: (mean - t * error).exp(),
        high: (mean + t * error).exp(),
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_even_number_of_runs_has_its_median_in_between() {
        let found = spread(&[4.0, 1.0, 3.0, 2.0]).unwrap();

        assert_eq!((found.low, found.median, found.high), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn noise_that_both_of_a_pair_have_does_not_widen_the_interval() {
        let found = ratio(&[2.0, 20.0, 200.0], &[1.0, 10.0, 100.0]).unwrap();

        assert!((found.ratio - 2.0).abs() < 1e-9);
        assert!(found.high - found.low < 1e-9);
    }

    #[test]
    fn the_interval_is_students() {
        // Logarithms -0.1, 0, 0.1: their mean has a standard error of 0.1 / √3, and t of 2 degrees
        // of freedom is 4.3027.
        let values = [-0.1_f64, 0.0, 0.1].map(f64::exp);

        let found = ratio(&values, &[1.0; 3]).unwrap();

        let expected = (0.1 / 3.0_f64.sqrt() * 4.302_65).exp();
        assert!((found.high - expected).abs() < 1e-3, "{found:?}");
        assert!((found.low - 1.0 / expected).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn one_pair_says_nothing_of_its_error() {
        assert_eq!(ratio(&[1.0], &[2.0]), None);
    }
}
