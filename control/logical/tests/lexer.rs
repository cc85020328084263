//! Tokens are what ovn-sb(5) says they are (EX-T1 to EX-T9).

use ovn_xdp_logical::constant::{Format, Number};
use ovn_xdp_logical::error::Lexical;
use ovn_xdp_logical::lexer::{Lexer, Mark, Token, unescape};
use proptest::prelude::*;

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text);
    std::iter::from_fn(|| match lexer.token().1 {
        Token::End => None,
        token => Some(token),
    })
    .collect()
}

fn number(text: &str) -> Number {
    match tokens(text)[..] {
        [Token::Number(number)] => number,
        ref other => panic!("{text} is {other:?}"),
    }
}

fn error(text: &str) -> String {
    match tokens(text).into_iter().find_map(|token| match token {
        Token::Error(error) => Some(error),
        _ => None,
    }) {
        Some(error) => error.to_string(),
        None => panic!("{text} has no lexical error"),
    }
}

#[test]
fn dots_and_digits_belong_to_identifiers() {
    assert_eq!(tokens("ip4.src"), [Token::Id("ip4.src")]);
    assert_eq!(tokens("ct.new"), [Token::Id("ct.new")]);
    assert_eq!(tokens("_x9 abc"), [Token::Id("_x9"), Token::Id("abc")]);
    assert_eq!(tokens("$as_ip4"), [Token::AddressSet("as_ip4")]);
    assert_eq!(tokens("@pg.1"), [Token::PortGroup("pg.1")]);
    assert_eq!(tokens("^vip"), [Token::Template("vip")]);
}

#[test]
fn a_word_of_hex_digits_is_a_number_only_before_a_colon() {
    assert_eq!(tokens("face"), [Token::Id("face")]);
    assert_eq!(tokens("bad.id"), [Token::Id("bad.id")]);
    assert_eq!(number("fe80::1").format, Format::Ipv6);
    assert_eq!(number("aa:bb:cc:dd:ee:ff").format, Format::Ethernet);
    assert_eq!(number("aa:bb:cc:dd:ee:ff").value, 0xaabb_ccdd_eeff);
}

#[test]
fn an_ipv4_address_ends_before_a_port_and_a_number_before_an_ellipsis() {
    assert_eq!(
        tokens("1.2.3.4:5"),
        [
            Token::Number(Number { value: 0x0102_0304, mask: None, format: Format::Ipv4 }),
            Token::Mark(Mark::Colon),
            Token::Number(Number::decimal(5)),
        ]
    );
    assert_eq!(
        tokens("[0..15]")[1..4],
        [
            Token::Number(Number::decimal(0)),
            Token::Mark(Mark::Ellipsis),
            Token::Number(Number::decimal(15)),
        ]
    );
    assert_eq!(number("::ffff:192.0.2.128").value, 0xffff_c000_0280);
}

#[test]
fn masks_follow_the_format_of_their_value_and_clear_the_bits_outside() {
    for (text, value, mask, format) in [
        ("192.168.1.130/25", 0xc0a8_0180, 0xffff_ff80, Format::Ipv4),
        ("192.168.1.2/255.0.255.0", 0xc000_0100, 0xff00_ff00, Format::Ipv4),
        ("1.2.3.4/0", 0, 0, Format::Ipv4),
        ("0x1234/0xff00", 0x1200, 0xff00, Format::Hexadecimal),
        ("0/0xff", 0, 0xff, Format::Hexadecimal),
        ("5/4", 4, 4, Format::Decimal),
        ("01:00:00:00:00:00/01:00:00:00:00:00", 1 << 40, 1 << 40, Format::Ethernet),
        ("fe80::1/10", 0xfe80 << 112, 0xffc0 << 112, Format::Ipv6),
    ] {
        let found = number(text);
        assert_eq!((found.value, found.mask, found.format), (value, Some(mask), format), "{text}");
    }
}

#[test]
fn every_lexical_error_is_said_in_ovns_words() {
    let wide = format!("0x1{}", "0".repeat(256));
    for (text, message) in [
        ("018", "Decimal constants must not have leading zeros."),
        ("18446744073709551616", "Decimal constants must be less than 2**64."),
        ("0x", "Hex digits expected following 0x."),
        ("0X", "Hex digits expected following 0X."),
        ("0x12g", "Invalid syntax in hexadecimal constant."),
        (&*wide, "Hexadecimal constant requires more than 1024 bits."),
        ("1.2.3", "Invalid numeric constant."),
        ("1.2.3.4.5", "Invalid numeric constant."),
        ("12xyz", "Invalid numeric constant."),
        ("1.2.3.4/33", "Value and mask have incompatible formats."),
        ("::1/129", "Value and mask have incompatible formats."),
        ("1/0xff", "Value and mask have incompatible formats."),
        ("1.2.3.4/::1", "Value and mask have incompatible formats."),
        ("1.2.3.4/", "Integer constant expected."),
        ("\"abc", "Input ends inside quoted string."),
        ("\"abc\\", "Input ends inside quoted string."),
        ("\"\\x\"", "bad escape \\x"),
        ("$", "`$' must be followed by a valid identifier."),
        ("@1", "`@' must be followed by a valid identifier."),
        ("^ x", "`^' must be followed by a valid identifier."),
        ("a & b", "`&' is only valid as part of `&&'."),
        ("|", "`|' is only valid as part of `||'."),
        (".", "`.' is only valid as part of `..' or a number."),
        ("a / b", "`/' is only valid as part of `//' or `/*'."),
        ("a /* b", "`/*' without matching `*/'."),
        ("a /* b\n */", "`/*' without matching `*/'."),
        ("#", "Invalid character `#' in input."),
        ("\u{e9}", "Invalid byte 0x-61 in input."),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn leading_zeros_of_a_hexadecimal_constant_do_not_count() {
    assert_eq!(number("0x00000000000000000000000000000000000000ff").value, 0xff);
    assert_eq!(number("0xffffffffffffffffffffffffffffffff").value, u128::MAX);
    assert_eq!(number("0").value, 0);
}

#[test]
fn comments_are_blank() {
    assert_eq!(tokens("a // b\nc"), [Token::Id("a"), Token::Id("c")]);
    assert_eq!(tokens("a/* b * / */c"), [Token::Id("a"), Token::Id("c")]);
    assert_eq!(tokens("// to the end"), []);
}

#[test]
fn strings_know_the_escapes_of_json() {
    assert_eq!(unescape(r#"a\"\\\/\b\f\n\r\t"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\t");
    assert_eq!(unescape(r"\u00e9\ud83d\ude00").unwrap(), "é😀");
    assert_eq!(unescape(r"\ud83d"), Err(Lexical::SurrogatePair));
    assert_eq!(tokens("\"a b\""), [Token::Text("a b")]);
}

#[test]
fn punctuation_takes_the_longest_match() {
    let marks: Vec<&str> = tokens("(){}[]== != < <= > >= ! && || .. , ; = <-> -- : -")
        .into_iter()
        .map(|token| match token {
            Token::Mark(mark) => mark.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(marks.join(" "), "( ) { } [ ] == != < <= > >= ! && || .. , ; = <-> -- : -");
}

proptest! {
    #[test]
    fn any_text_is_read_to_its_end(text in "\\PC*") {
        let mut lexer = Lexer::new(&text);
        let mut last = 0;
        loop {
            let (start, token) = lexer.token();
            prop_assert!(start >= last && text.is_char_boundary(start));
            last = lexer.position();
            if token == Token::End {
                break;
            }
            prop_assert!(last > start);
        }
    }

    #[test]
    fn a_number_reads_back_as_it_is_printed(value: u128, mask: u128, masked: bool, kind in 0..5u8) {
        let (format, width) = match kind {
            0 => (Format::Decimal, 64),
            1 => (Format::Hexadecimal, 128),
            2 => (Format::Ipv4, 32),
            3 => (Format::Ipv6, 128),
            _ => (Format::Ethernet, 48),
        };
        let ones = u128::MAX >> (128 - width);
        let mask = masked.then_some(mask & ones);
        let value = value & mask.unwrap_or(ones);
        let printed = Number { value, mask, format };
        let read = number(&printed.to_string());
        prop_assert_eq!((read.value, read.mask), (value, mask));
    }
}
