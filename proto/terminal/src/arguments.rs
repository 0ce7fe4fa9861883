//! What arguments of several commands have in common: parsers for clap.

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
