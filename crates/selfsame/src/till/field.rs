//! Where a scan lands: in the field for payment codes, or in the one for items. Neither takes what is meant for the other.

use clap::ValueEnum;
use selfsame_domain::payment_code::{PaymentCode, PaymentCodeError, Prefix};
use selfsame_domain::site::Mode;

/// The field that has the focus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Field {
    /// Payment codes.
    #[default]
    Payment,
    /// Items.
    Item,
}

/// Why a field does not take a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongField {
    /// The field for payments got something else.
    #[error("this is no payment code ({0}); read it again")]
    NoCode(PaymentCodeError),
    /// The field for items got a payment code.
    #[error("this is a payment code and no item: read it where the till asks for payment")]
    Code,
}

/// A payment code. Without a `prefix` that of any operator is taken, and the server decides.
pub fn payment_code(text: &str, prefix: Option<Prefix>) -> Result<PaymentCode, WrongField> {
    let own = || text.get(..2).and_then(|own| own.parse().ok());
    let prefix = prefix.or_else(own).unwrap_or_else(|| Prefix::default_for(Mode::Live));
    PaymentCode::parse(text, prefix).map_err(WrongField::NoCode)
}

/// An item: anything but a payment code of this site, or, where its prefix is not known, of any site with a usual one.
pub fn item(text: &str, prefix: Option<Prefix>) -> Result<(), WrongField> {
    let usual = [Prefix::default_for(Mode::Live), Prefix::default_for(Mode::Test)];
    let prefixes = prefix.map_or(usual.to_vec(), |prefix| vec![prefix]);
    let is_code = prefixes.into_iter().any(|prefix| PaymentCode::parse(text, prefix).is_ok());
    if is_code { Err(WrongField::Code) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_takes_what_is_meant_for_the_other() {
        let prefix = Prefix::default_for(Mode::Test);
        for number in 0..100 {
            let code = PaymentCode::from_random(prefix, &[number * 7_919_773]).unwrap();
            assert_eq!(item(code.expose(), None), Err(WrongField::Code));
            assert_eq!(item(code.expose(), Some(prefix)), Err(WrongField::Code));
            assert!(payment_code(code.expose(), None).is_ok());
            let live = payment_code(code.expose(), Some(Prefix::default_for(Mode::Live)));
            assert_eq!(live, Err(WrongField::NoCode(PaymentCodeError::Prefix)));
        }
        // EAN-13, UPC-A, a GS1-128 serial shipping container code, an order number.
        for text in ["4006381333931", "036000291452", "00106141412345678908", "A-1234"] {
            assert_eq!(item(text, None), Ok(()));
            assert!(payment_code(text, None).is_err(), "{text}");
        }
    }
}
