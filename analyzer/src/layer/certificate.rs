//! The end of an X.509 certificate's validity (RFC 5280 section 4.1), read by walking its DER up to there.
//!
//! Only the first kilobyte or so is needed, so a certificate may be cut behind it. By hand, because the parser crates
//! allocate and want the certificate whole.

use std::ops::ControlFlow;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;

/// Why there is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoDate {
    /// The bytes end before it.
    Short,
    /// They are no certificate.
    Malformed,
}

/// A cursor over DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and length of the next element; the cursor then stands at its contents.
    fn open(&mut self) -> Result<(u8, usize), NoDate> {
        let [tag, length, rest @ ..] = self.0 else { return Err(NoDate::Short) };
        self.0 = rest;
        if *length < 0x80 {
            return Ok((*tag, usize::from(*length)));
        }
        let count = usize::from(*length & 0x7f);
        if count == 0 || count > 3 {
            return Err(NoDate::Malformed);
        }
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(NoDate::Short)?;
        self.0 = rest;
        Ok((*tag, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))))
    }

    /// Enters an element.
    fn enter(&mut self, wanted: u8) -> Result<(), NoDate> {
        if self.open()?.0 == wanted { Ok(()) } else { Err(NoDate::Malformed) }
    }

    /// The contents of the next element.
    fn take(&mut self) -> Result<(u8, &'a [u8]), NoDate> {
        let (tag, length) = self.open()?;
        let (contents, rest) = self.0.split_at_checked(length).ok_or(NoDate::Short)?;
        self.0 = rest;
        Ok((tag, contents))
    }

    /// Passes over an element.
    fn skip(&mut self, wanted: u8) -> Result<(), NoDate> {
        if self.take()?.0 == wanted { Ok(()) } else { Err(NoDate::Malformed) }
    }
}

/// notAfter of the certificate that begins here, seconds since the epoch.
pub(super) fn not_after_s(bytes: &[u8]) -> Result<i64, NoDate> {
    let mut der = Der(bytes);
    der.enter(SEQUENCE)?;
    der.enter(SEQUENCE)?;
    if der.0.first() == Some(&EXPLICIT_VERSION) {
        der.skip(EXPLICIT_VERSION)?;
    }
    der.skip(INTEGER)?;
    // Signature algorithm and issuer.
    der.skip(SEQUENCE)?;
    der.skip(SEQUENCE)?;
    der.enter(SEQUENCE)?;
    der.take()?;
    let (tag, time) = der.take()?;
    let (year, rest) = match (tag, digits(time, 2), digits(time, 4)) {
        // RFC 5280 section 4.1.2.5.1: from 50 on it is the last century.
        (UTC_TIME, Some(year), _) => (if year < 50 { 2000 + year } else { 1900 + year }, 2),
        (GENERALIZED_TIME, _, Some(year)) => (year, 4),
        _ => return Err(NoDate::Malformed),
    };
    seconds(year, time.get(rest..).unwrap_or_default()).ok_or(NoDate::Malformed)
}

fn digits(bytes: &[u8], count: usize) -> Option<i64> {
    let value = bytes.get(..count)?.iter().try_fold(0, |value, byte| match byte {
        b'0'..=b'9' => ControlFlow::Continue(value * 10 + i64::from(byte - b'0')),
        _ => ControlFlow::Break(()),
    });
    value.continue_value()
}

/// `MMDDHHMMSSZ` of a year.
fn seconds(year: i64, rest: &[u8]) -> Option<i64> {
    let part = |place: usize| digits(rest.get(place * 2..)?, 2);
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    let days = days_before(year, month) + day - 1;
    valid.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from the epoch to the first of a month, Gregorian. Years begin in March, so that the leap day is the last.
const fn days_before(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut all = vec![tag];
        match contents.len() {
            len @ 0..0x80 => all.push(len as u8),
            len => all.extend([0x82, (len >> 8) as u8, len as u8]),
        }
        all.extend(contents);
        all
    }

    fn certificate(not_after: &[u8], tag: u8) -> Vec<u8> {
        let validity = [element(UTC_TIME, b"240101000000Z"), element(tag, not_after)].concat();
        let tbs = [
            element(EXPLICIT_VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1; 16]),
            element(SEQUENCE, &[5, 0]),
            element(SEQUENCE, &[7; 200]),
            element(SEQUENCE, &validity),
            element(SEQUENCE, &[9; 900]),
        ];
        element(SEQUENCE, &element(SEQUENCE, &tbs.concat()))
    }

    #[test]
    fn dates_of_both_forms_are_read() {
        assert_eq!(not_after_s(&certificate(b"250301123456Z", UTC_TIME)), Ok(1_740_832_496));
        assert_eq!(not_after_s(&certificate(b"700101000000Z", UTC_TIME)), Ok(0));
        assert_eq!(not_after_s(&certificate(b"20500101000000Z", GENERALIZED_TIME)), Ok(2_524_608_000));
        assert_eq!(not_after_s(&certificate(b"251301123456Z", UTC_TIME)), Err(NoDate::Malformed));
    }

    #[test]
    fn a_cut_certificate_is_short_until_its_date_is_there() {
        let whole = certificate(b"250301123456Z", UTC_TIME);
        let found: Vec<_> = (0..whole.len()).map(|len| not_after_s(&whole[..len])).collect();
        let first = found.iter().position(Result::is_ok).unwrap();
        assert!(found[..first].iter().all(|result| *result == Err(NoDate::Short)));
        assert!(found[first..].iter().all(Result::is_ok) && first < 300);
    }
}
