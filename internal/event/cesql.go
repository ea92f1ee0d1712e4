package event

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// compileCESQL compiles an expression of CloudEvents SQL 1.0. An event for which it has no value, because an attribute is missing or cannot be cast, does not pass.
// The library of CloudEvents brings a parser generator's run time of 5 MB; the language is small.
func compileCESQL(text string) (check, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the expression is longer than %s", app.Size(maxText))
	}
	x, err := parseCESQL(text)
	if err != nil {
		return nil, err
	}
	return func(e *evaluation) bool {
		v, err := x(e)
		if err != nil {
			return false
		}
		pass, err := toBool(v)
		return err == nil && pass
	}, nil
}

// node is an expression: its value is a string, an int32 or a bool. With an error there is a value as well, which nothing goes by.
type node func(e *evaluation) (any, error)

// parser reads an expression by precedence.
type parser struct {
	tokens []token
	at     int
	depth  int
}

func parseCESQL(text string) (node, error) {
	tokens, err := scanCESQL(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	x, err := p.expression(0)
	if err == nil && p.peek().kind != tokenEnd {
		err = p.unexpected()
	}
	return x, err
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// is takes the next token if it is this word or sign.
func (p *parser) is(word string) bool {
	if t := p.peek(); (t.kind == tokenName || t.kind == tokenSign) && t.upper() == word {
		p.at++
		return true
	}
	return false
}

func (p *parser) unexpected() error {
	t := p.peek()
	if t.kind == tokenEnd {
		return fmt.Errorf("column %d: the expression ends too early", t.at+1)
	}
	return fmt.Errorf("column %d: %q is not expected here", t.at+1, app.Clip(t.text, 40))
}

func (p *parser) need(word string) error {
	if !p.is(word) {
		return p.unexpected()
	}
	return nil
}

// How strongly the binary operators bind: logic, comparison, sums, products, LIKE and IN.
var binding = map[string]int{"AND": 1, "OR": 1, "XOR": 1, "=": 2, "!=": 2, "<>": 2, "<": 2, "<=": 2, ">": 2, ">=": 2, "+": 3, "-": 3, "*": 4, "/": 4, "%": 4, "LIKE": 5, "IN": 5, "NOT": 5}

// maxNested bounds how deep an expression may be.
const maxNested = 50

// expression reads what binds more strongly than least.
func (p *parser) expression(least int) (node, error) {
	if p.depth++; p.depth > maxNested {
		return nil, fmt.Errorf("column %d: it is more than %d deep", p.peek().at+1, maxNested)
	}
	defer func() { p.depth-- }()
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		b := 0
		if t.kind == tokenName || t.kind == tokenSign {
			b = binding[t.upper()]
		}
		if t.kind == tokenNumber && (t.text[0] == '+' || t.text[0] == '-') { // "1+2": the sign is an operator after a value
			p.tokens[p.at] = token{kind: tokenNumber, text: t.text[1:], at: t.at + 1}
			t, b = token{kind: tokenSign, text: t.text[:1], at: t.at}, 3
			if b <= least {
				p.tokens[p.at] = token{kind: tokenNumber, text: t.text + p.tokens[p.at].text, at: t.at}
				return left, nil
			}
		} else if b <= least {
			return left, nil
		} else {
			p.at++
		}
		if left, err = p.binary(left, t.upper(), b); err != nil {
			return nil, err
		}
	}
}

// binary reads what follows an operator.
func (p *parser) binary(left node, op string, b int) (node, error) {
	if b == 5 {
		return p.likeOrIn(left, op)
	}
	if b == 1 { // associates to the right
		b = 0
	}
	right, err := p.expression(b)
	if err != nil {
		return nil, err
	}
	switch op {
	case "AND", "OR", "XOR":
		return logic(op, left, right), nil
	case "=", "!=", "<>":
		return equal(left, right, op == "="), nil
	case "<", "<=", ">", ">=":
		return compare(op, left, right), nil
	}
	return arithmetic(op, left, right), nil
}

// likeOrIn reads what follows LIKE, IN, NOT LIKE and NOT IN.
func (p *parser) likeOrIn(left node, op string) (node, error) {
	not := op == "NOT"
	if not {
		op = p.next().upper()
	}
	var x node
	switch op {
	case "LIKE":
		t := p.peek()
		if t.kind != tokenString {
			return nil, p.unexpected()
		}
		p.at++
		wanted := parsePattern(t.text)
		x = func(e *evaluation) (any, error) {
			v, err := left(e)
			if err != nil {
				return false, err
			}
			if err := e.spend(len(t.text)); err != nil {
				return false, err
			}
			return e.like(toText(v), wanted)
		}
	case "IN":
		if err := p.need("("); err != nil {
			return nil, err
		}
		set, err := p.list()
		if err != nil {
			return nil, err
		}
		if len(set) == 0 {
			return nil, p.unexpected()
		}
		x = in(left, set)
	default:
		p.at--
		return nil, p.unexpected()
	}
	if not {
		x = negated(x)
	}
	return x, nil
}

// list reads expressions up to the closing bracket.
func (p *parser) list() (all []node, err error) {
	if p.is(")") {
		return nil, nil
	}
	for {
		x, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if all = append(all, x); p.is(")") {
			return all, nil
		}
		if err := p.need(","); err != nil {
			return nil, err
		}
	}
}

// unary reads a value with what stands before it.
func (p *parser) unary() (node, error) {
	t := p.next()
	switch word := t.upper(); {
	case t.kind == tokenString:
		return constant(t.text), nil
	case t.kind == tokenNumber:
		n, err := strconv.ParseInt(t.text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("column %d: %s is not an integer of 32 bits", t.at+1, app.Clip(t.text, 40))
		}
		return constant(int32(n)), nil
	case t.kind == tokenSign && t.text == "(":
		x, err := p.expression(0)
		if err == nil {
			err = p.need(")")
		}
		return x, err
	case t.kind == tokenSign && t.text == "-", t.kind == tokenName && word == "NOT":
		x, err := p.operand()
		if err != nil {
			return nil, err
		}
		if t.text == "-" {
			return minus(x), nil
		}
		return negated(x), nil
	case t.kind == tokenName:
		return p.name(t, word)
	}
	p.at = max(p.at-1, 0)
	if t.kind == tokenEnd {
		p.at = len(p.tokens) - 1
	}
	return nil, p.unexpected()
}

// operand reads what NOT and - apply to: they bind more strongly than all else.
func (p *parser) operand() (node, error) {
	if p.depth++; p.depth > maxNested {
		return nil, fmt.Errorf("column %d: it is more than %d deep", p.peek().at+1, maxNested)
	}
	defer func() { p.depth-- }()
	return p.unary()
}

// name reads a literal, a function, EXISTS, or an attribute.
func (p *parser) name(t token, word string) (node, error) {
	switch {
	case word == "TRUE" || word == "FALSE":
		return constant(word == "TRUE"), nil
	case word == "EXISTS":
		a := p.peek()
		if a.kind != tokenName || reserved[a.upper()] || strings.Contains(a.text, "_") {
			return nil, p.unexpected()
		}
		p.at++
		name := strings.ToLower(a.text)
		return func(e *evaluation) (any, error) {
			_, ok := e.Attribute(name)
			return e.made(ok)
		}, nil
	case reserved[word]:
		p.at--
		return nil, p.unexpected()
	case p.is("("):
		args, err := p.list()
		if err != nil {
			return nil, err
		}
		return call(t, word, args)
	case strings.Contains(t.text, "_"):
		p.at--
		return nil, p.unexpected()
	}
	name := strings.ToLower(t.text)
	return func(e *evaluation) (any, error) {
		v, ok := e.Attribute(name)
		if !ok {
			return false, errMissing
		}
		return e.made(v)
	}, nil
}

var reserved = map[string]bool{"AND": true, "OR": true, "XOR": true, "NOT": true, "LIKE": true, "IN": true, "EXISTS": true, "TRUE": true, "FALSE": true}
