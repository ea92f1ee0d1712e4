package event

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// What keeps an expression from having a value.
var (
	errMissing = errors.New("the event has no such attribute")
	errCast    = errors.New("the value cannot be cast")
	errMath    = errors.New("there is no such number")
	errCall    = errors.New("the function does not take that")
	errWork    = errors.New("the expression takes too much work")
)

// maxWork is how much one trigger's filters may do for one event: bytes of the texts that they read and make, with leafWork for each value. It is 64 times the
// longest attribute, and some milliseconds: an app's filter must not hold up the events of the others.
const (
	maxWork  = 1 << 20
	leafWork = 8
)

// evaluation is the filters of a trigger at work on one event.
type evaluation struct {
	*Event
	left int // of maxWork; below 0, the event does not pass, whatever the filters say
}

func evaluate(e *Event) *evaluation { return &evaluation{e, maxWork} }

// spend notes work. What takes a text need not: it was paid for when it was made.
func (e *evaluation) spend(n int) error {
	if n > e.left {
		e.left = -1
		return errWork
	}
	e.left -= n
	return nil
}

// made pays for a value.
func (e *evaluation) made(v any) (any, error) {
	s, _ := v.(string)
	return v, e.spend(len(s) + leafWork)
}

func constant(v any) node { return func(e *evaluation) (any, error) { return e.made(v) } }

func toText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fmt.Sprint(v)
}

func toBool(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case int32:
		return v != 0, nil
	case string:
		if strings.EqualFold(v, "true") {
			return true, nil
		} else if strings.EqualFold(v, "false") {
			return false, nil
		}
	}
	return false, errCast
}

func toInt(v any) (int32, error) {
	switch v := v.(type) {
	case int32:
		return v, nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 32); err == nil {
			return int32(n), nil
		}
	}
	return 0, errCast
}

// castLike casts a value to the type of another.
func castLike(v, other any) (any, error) {
	switch other.(type) {
	case bool:
		return toBool(v)
	case int32:
		return toInt(v)
	}
	return toText(v), nil
}

func boolOf(x node, e *evaluation) (bool, error) {
	v, err := x(e)
	if err != nil {
		return false, err
	}
	return toBool(v)
}

func intOf(x node, e *evaluation) (int32, error) {
	v, err := x(e)
	if err != nil {
		return 0, err
	}
	return toInt(v)
}

func negated(x node) node {
	return func(e *evaluation) (any, error) {
		v, err := boolOf(x, e)
		return err == nil && !v, err
	}
}

func minus(x node) node {
	return func(e *evaluation) (any, error) {
		v, err := intOf(x, e)
		return -v, err
	}
}

// logic does not look at its right side where the left one decides.
func logic(op string, left, right node) node {
	return func(e *evaluation) (any, error) {
		l, err := boolOf(left, e)
		if err != nil || op == "AND" && !l || op == "OR" && l {
			return err == nil && l, err
		}
		r, err := boolOf(right, e)
		if op == "XOR" {
			return err == nil && l != r, err
		}
		return err == nil && r, err
	}
}

func equal(left, right node, want bool) node {
	return func(e *evaluation) (any, error) {
		l, err := left(e)
		if err != nil {
			return false, err
		}
		r, err := right(e)
		if err != nil {
			return false, err
		}
		if l, err = castLike(l, r); err != nil {
			return false, err
		}
		return (l == r) == want, nil
	}
}

func in(left node, set []node) node {
	return func(e *evaluation) (any, error) {
		l, err := left(e)
		if err != nil {
			return false, err
		}
		for _, x := range set {
			r, err := x(e)
			if err != nil {
				return false, err
			}
			if r, err = castLike(r, l); err != nil {
				return false, err
			}
			if l == r {
				return true, nil
			}
		}
		return false, nil
	}
}

func compare(op string, left, right node) node {
	return func(e *evaluation) (any, error) {
		l, err := intOf(left, e)
		if err != nil {
			return false, err
		}
		r, err := intOf(right, e)
		if err != nil {
			return false, err
		}
		switch op {
		case "<":
			return l < r, nil
		case "<=":
			return l <= r, nil
		case ">":
			return l > r, nil
		}
		return l >= r, nil
	}
}

func arithmetic(op string, left, right node) node {
	return func(e *evaluation) (any, error) {
		l, err := intOf(left, e)
		if err != nil {
			return int32(0), err
		}
		r, err := intOf(right, e)
		if err != nil {
			return int32(0), err
		}
		switch op {
		case "+":
			return l + r, nil
		case "-":
			return l - r, nil
		case "*":
			return l * r, nil
		}
		if r == 0 {
			return int32(0), errMath
		}
		if op == "/" {
			return l / r, nil
		}
		return l % r, nil
	}
}

// function is a function with how many arguments it takes; -1 for most means any number.
type function struct {
	least, most int
	do          func(args []any) (any, error)
}

// texts makes a function of texts.
func texts(f func(s []string) any) func([]any) (any, error) {
	return func(args []any) (any, error) {
		s := make([]string, len(args))
		for i, a := range args {
			s[i] = toText(a)
		}
		return f(s), nil
	}
}

var functions = map[string]function{
	"INT":       {1, 1, func(a []any) (any, error) { return toInt(a[0]) }},
	"BOOL":      {1, 1, func(a []any) (any, error) { return toBool(a[0]) }},
	"STRING":    {1, 1, texts(func(s []string) any { return s[0] })},
	"IS_INT":    {1, 1, func(a []any) (any, error) { _, err := toInt(a[0]); return err == nil, nil }},
	"IS_BOOL":   {1, 1, func(a []any) (any, error) { _, err := toBool(a[0]); return err == nil, nil }},
	"ABS":       {1, 1, abs},
	"LENGTH":    {1, 1, texts(func(s []string) any { return int32(len(s[0])) })},
	"CONCAT":    {0, -1, texts(func(s []string) any { return strings.Join(s, "") })},
	"CONCAT_WS": {1, -1, texts(func(s []string) any { return strings.Join(s[1:], s[0]) })},
	"LOWER":     {1, 1, texts(func(s []string) any { return strings.ToLower(s[0]) })},
	"UPPER":     {1, 1, texts(func(s []string) any { return strings.ToUpper(s[0]) })},
	"TRIM":      {1, 1, texts(func(s []string) any { return strings.TrimSpace(s[0]) })},
	"LEFT":      {2, 2, func(a []any) (any, error) { return end(a, func(s string, n int) string { return s[:n] }) }},
	"RIGHT":     {2, 2, func(a []any) (any, error) { return end(a, func(s string, n int) string { return s[len(s)-n:] }) }},
	"SUBSTRING": {2, 3, substring},
}

func abs(a []any) (any, error) {
	n, err := toInt(a[0])
	switch {
	case err != nil:
		return int32(0), err
	case n == math.MinInt32:
		return int32(math.MaxInt32), errMath
	case n < 0:
		return -n, nil
	}
	return n, nil
}

// end is the beginning or the end of a text: cut takes at most its length.
func end(a []any, cut func(s string, n int) string) (any, error) {
	s := toText(a[0])
	n, err := toInt(a[1])
	if err != nil {
		return s, err
	}
	if n < 0 {
		return s, errCall
	}
	return cut(s, min(int(n), len(s))), nil
}

// substring counts from 1, or from the end where the position is negative.
func substring(a []any) (any, error) {
	s := toText(a[0])
	pos, err := toInt(a[1])
	if err != nil {
		return "", err
	}
	length := int32(len(s))
	if len(a) == 3 {
		if length, err = toInt(a[2]); err != nil {
			return "", err
		}
	}
	from := int(pos) - 1
	if pos < 0 {
		from = len(s) + int(pos)
	}
	if pos == 0 {
		return "", nil
	}
	if from < 0 || from >= len(s) && from > 0 || length < 0 {
		return "", errCall
	}
	return s[from:min(from+int(length), len(s))], nil
}

// call makes the call of a function. One that does not exist is refused when the expression is read.
func call(t token, name string, args []node) (node, error) {
	f, ok := functions[name]
	if !ok {
		return nil, fmt.Errorf("column %d: there is no function %s", t.at+1, app.Clip(name, 40))
	}
	if len(args) < f.least || f.most >= 0 && len(args) > f.most {
		return nil, fmt.Errorf("column %d: %s does not take %d arguments", t.at+1, name, len(args))
	}
	return func(e *evaluation) (any, error) {
		values := make([]any, len(args))
		for i, x := range args {
			var err error
			if values[i], err = x(e); err != nil {
				return false, err
			}
		}
		if name == "CONCAT_WS" { // alone, it makes more than its arguments are
			if err := e.spend(len(values) * len(toText(values[0]))); err != nil {
				return false, err
			}
		}
		v, err := f.do(values)
		if err != nil {
			return v, err
		}
		return e.made(v)
	}, nil
}
