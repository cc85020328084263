//! MAC addresses as text.

use ovn_xdp_datapath::publish::Mac;

/// Reads `xx:xx:xx:xx:xx:xx`, one or two hex digits a byte, and nothing behind it.
pub fn parse(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for byte in &mut mac {
        let digits = bytes.next()?;
        let plain =
            (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = plain.then(|| u8::from_str_radix(digits, 16).ok())??;
    }
    bytes.next().is_none().then_some(mac)
}

/// Writes it as OVN does.
pub fn format(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mac = [0, 0x1b, 2, 0xff, 4, 5];
        assert_eq!(parse(&format(mac)), Some(mac));
        for bad in ["", "0:1:2:3:4", "0:1:2:3:4:5:6", "+1:2:3:4:5:6", "100:0:0:0:0:0", "::::: "] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
