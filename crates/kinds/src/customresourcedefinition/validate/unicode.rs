//! The names of Unicode classes in Go's regular expressions: categories, their long names, and scripts of one word (Go
//! finds no other by its name, although its documentation lists them).

/// Whether `\p{name}` is a class. Case and `_`, `-` and blanks do not count.
pub(super) fn is_class(name: &str) -> bool {
    let canonical: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let known = |list: &str| list.split(' ').any(|known| known == canonical);
    known(CATEGORIES) || known(LONG_NAMES) || known(SCRIPTS)
}

const CATEGORIES: &str = "any assigned ascii c cc cf cn co cs l lc ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps s sc sk sm so z zl zp zs";

const LONG_NAMES: &str = "casedletter closepunctuation combiningmark connectorpunctuation control currencysymbol dashpunctuation decimalnumber enclosingmark finalpunctuation format initialpunctuation letter letternumber lineseparator lowercaseletter mark mathsymbol modifierletter modifiersymbol nonspacingmark number openpunctuation other otherletter othernumber otherpunctuation othersymbol paragraphseparator privateuse punctuation separator spaceseparator spacingmark surrogate symbol titlecaseletter unassigned uppercaseletter cntrl digit punct";

const SCRIPTS: &str = "adlam ahom arabic armenian avestan balinese bamum batak bengali bhaiksuki bopomofo brahmi braille buginese buhid carian chakma cham cherokee chorasmian common coptic cuneiform cypriot cyrillic deseret devanagari dogra duployan elbasan elymaic ethiopic georgian glagolitic gothic grantha greek gujarati gurmukhi han hangul hanunoo hatran hebrew hiragana inherited javanese kaithi kannada katakana kawi kharoshthi khmer khojki khudawadi lao latin lepcha limbu lisu lycian lydian mahajani makasar malayalam mandaic manichaean marchen medefaidrin miao modi mongolian mro multani myanmar nabataean nandinagari newa nko nushu ogham oriya osage osmanya palmyrene phoenician rejang runic samaritan saurashtra sharada shavian siddham sinhala sogdian soyombo sundanese syriac tagalog tagbanwa takri tamil tangsa tangut telugu thaana thai tibetan tifinagh tirhuta toto ugaritic vai vithkuqi wancho yezidi yi";
