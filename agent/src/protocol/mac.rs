//! Addresses of network cards (IEEE 802).

/// Reads one: six bytes in hexadecimal with `:` or `-` between them; not that of a group of cards, nor of none.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let byte = |text: &str| {
        let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u8::from_str_radix(text, 16).ok().filter(|_| two)
    };
    let bytes: Vec<u8> = text.split([':', '-']).map(byte).collect::<Option<_>>()?;
    // The lowest bit of the first byte makes it a group of cards.
    <[u8; 6]>::try_from(bytes).ok().filter(|bytes| bytes[0] & 1 == 0 && *bytes != [0; 6])
}

#[cfg(test)]
mod tests {
    use super::mac;

    #[test]
    fn addresses_of_cards_are_checked() {
        for (text, good) in [
            ("00:00:5e:00:53:01", true),
            ("00-00-5E-00-53-01", true),
            ("00:00:5e:00:53", false),
            ("00:00:5e:00:53:01:02", false),
            ("00:00:5e:00:53:+1", false),
            ("00:00:5e:00:53:1", false),
            ("01:00:5e:00:53:01", false),
            ("ff:ff:ff:ff:ff:ff", false),
            ("00:00:00:00:00:00", false),
            ("", false),
        ] {
            assert_eq!(mac(text).is_some(), good, "{text}");
        }
    }
}
