package event

import (
	"fmt"
	"strings"
)

// tokenKind is what a token of an expression is.
type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenNumber // with a sign before it, if there is one
	tokenString // its text is without quotes
	tokenSign
)

type token struct {
	kind tokenKind
	text string
	at   int // byte in the expression
}

// upper is a token as keywords and functions are looked up.
func (t token) upper() string {
	if t.kind == tokenString {
		return ""
	}
	return strings.ToUpper(t.text)
}

// scanCESQL splits an expression into tokens; the last one is its end.
func scanCESQL(text string) (all []token, err error) {
	for i := 0; i < len(text); {
		c := text[i]
		from := i
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == '\'' || c == '"':
			var s string
			if s, i, err = scanString(text, i); err != nil {
				return nil, err
			}
			all = append(all, token{tokenString, s, from})
			continue
		case digit(c), (c == '+' || c == '-') && i+1 < len(text) && digit(text[i+1]):
			for i++; i < len(text) && digit(text[i]); i++ {
			}
			if i < len(text) && letter(text[i]) { // an attribute may begin with a digit
				for ; i < len(text) && (letter(text[i]) || digit(text[i])); i++ {
				}
				if !digit(c) {
					return nil, fmt.Errorf("column %d: %q is not expected here", from+1, text[from:i])
				}
				all = append(all, token{tokenName, text[from:i], from})
				continue
			}
			all = append(all, token{tokenNumber, text[from:i], from})
			continue
		case letter(c):
			for i++; i < len(text) && (letter(text[i]) || digit(text[i]) || text[i] == '_'); i++ {
			}
			all = append(all, token{tokenName, text[from:i], from})
			continue
		}
		i++
		if i < len(text) && (text[from:i+1] == "!=" || text[from:i+1] == "<>" || text[from:i+1] == "<=" || text[from:i+1] == ">=") {
			i++
		} else if strings.IndexByte("()=<>+-*/%,", c) < 0 {
			return nil, fmt.Errorf("column %d: the character %q is not expected here", from+1, text[from:i])
		}
		all = append(all, token{tokenSign, text[from:i], from})
	}
	return append(all, token{kind: tokenEnd, at: len(text)}), nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// scanString reads a string in quotes. A backslash keeps the quote after it; a doubled quote does not end the string, and stays doubled, as in the reference
// implementation.
func scanString(text string, from int) (s string, end int, err error) {
	quote := text[from]
	for i := from + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return strings.ReplaceAll(text[from+1:i], `\`+string(quote), string(quote)), i + 1, nil
		}
	}
	return "", 0, fmt.Errorf("column %d: the quote is not closed", from+1)
}
