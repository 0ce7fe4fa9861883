//! What arguments of several commands have in common: parsers for clap.

use std::time::Duration;

use dr_proto::model::units::Period;

/// A text that says something.
///
/// # Errors
///
/// If there is nothing in it but white space.
pub fn said(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it must say something".to_owned());
    }
    Ok(text.to_owned())
}

/// A length of time in whole seconds, one or more: what is sent and kept in seconds must not become another length
/// on its way.
///
/// # Errors
///
/// If it is no length of time, shorter than a second, or has a part of a second.
pub fn period(text: &str) -> Result<Period, String> {
    match text.parse::<Period>() {
        Ok(Period(length)) if length < Duration::from_secs(1) => {
            Err("it must be a second or longer, such as 30s or 4h".to_owned())
        }
        Ok(Period(length)) if length.subsec_nanos() > 0 => {
            Err("it must be a number of whole seconds, such as 90s".to_owned())
        }
        Ok(period) => Ok(period),
        Err(error) => Err(error.to_string()),
    }
}

/// A share of a whole, from 0 to 1.
///
/// # Errors
///
/// If it is no number, or none from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1 is expected, such as 0.02".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_kept_as_it_was_given_or_refused() {
        assert_eq!(period("90s").unwrap().0, Duration::from_secs(90));
        assert_eq!(period("1.5m").unwrap().0, Duration::from_secs(90));
        for short in ["0", "0s", "500ms", "0.9s"] {
            assert!(
                period(short).unwrap_err().contains("a second or longer"),
                "{short}"
            );
        }
        for broken in ["1500ms", "1.5s", "1h1ms"] {
            assert!(period(broken).unwrap_err().contains("whole seconds"), "{broken}");
        }
        assert!(period("soon").unwrap_err().contains("soon"));
    }

    #[test]
    fn a_share_lies_between_nothing_and_all() {
        assert_eq!(share("0.25"), Ok(0.25));
        for wrong in ["-0.1", "1.1", "NaN", "inf", "2 %", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
