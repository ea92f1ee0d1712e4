package secret

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// ParseDotenv reads variables as a .env file has them: NAME=VALUE on a line, empty lines, comments with #, and "export " before a name. A value is as it
// stands, without white space around it and a comment behind it; 'in quotes' it is as it stands, over several lines as well; in "double quotes" \n, \r and
// \t are what they are in C, and any other character after a \ is itself. Nothing is expanded. A name that comes twice has its last value. It returns an
// *app.Error that names the line, and never a value.
func ParseDotenv(text []byte) (Values, error) {
	p := &dotenv{rest: bytes.TrimPrefix(text, []byte("\ufeff")), line: 1}
	values := Values{}
	for {
		p.space("\t\r\n\v\f ")
		if len(p.rest) == 0 {
			return values, nil
		}
		if p.rest[0] == '#' {
			p.take(p.until("\n"))
			continue
		}
		line := p.line
		name, value, why := p.variable()
		if why != "" {
			return nil, app.Errorf(app.CodeInvalidInput, "write NAME=VALUE on a line, with quotes where the value has several lines", "line %d of the file: %s", line, why)
		}
		if err := CheckName(name); err != nil {
			message, next := app.Explain(err)
			return nil, app.Errorf(app.CodeOf(err), next, "line %d of the file: %s", line, message)
		}
		values[name] = value
	}
}

type dotenv struct {
	rest []byte
	line int
}

// take returns the next n bytes.
func (p *dotenv) take(n int) []byte {
	b := p.rest[:n]
	p.rest = p.rest[n:]
	p.line += bytes.Count(b, []byte("\n"))
	return b
}

// until is how many bytes there are before the first of these, or the end.
func (p *dotenv) until(any string) int {
	if n := bytes.IndexAny(p.rest, any); n >= 0 {
		return n
	}
	return len(p.rest)
}

// space skips these bytes.
func (p *dotenv) space(of string) {
	n := 0
	for n < len(p.rest) && strings.IndexByte(of, p.rest[n]) >= 0 {
		n++
	}
	p.take(n)
}

// variable reads one, or says why it cannot.
func (p *dotenv) variable() (name string, value []byte, why string) {
	if rest, ok := bytes.CutPrefix(p.rest, []byte("export ")); ok {
		p.rest = bytes.TrimLeft(rest, " \t")
	}
	n := p.until("=\n")
	if n == len(p.rest) || p.rest[n] != '=' {
		return "", nil, "it has no ="
	}
	name = strings.TrimSpace(string(p.take(n)))
	p.take(1)
	p.space("\t ")
	if len(p.rest) == 0 || p.rest[0] != '\'' && p.rest[0] != '"' {
		return name, p.bare(), ""
	}
	quote := p.take(1)[0]
	value, ok := p.quoted(quote)
	if !ok {
		return name, nil, "its value has no closing " + string(quote)
	}
	if after := bytes.TrimSpace(p.take(p.until("\n"))); len(after) > 0 && after[0] != '#' {
		return name, nil, "something stands behind the closing " + string(quote)
	}
	return name, value, ""
}

// bare reads a value without quotes, to the end of the line.
func (p *dotenv) bare() []byte {
	value := p.take(p.until("\n"))
	for i, c := range value {
		if c == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			value = value[:i]
			break
		}
	}
	return slices.Clone(bytes.TrimRight(value, " \t\r\v\f"))
}

// quoted reads a value to its closing quote.
func (p *dotenv) quoted(quote byte) (value []byte, ok bool) {
	value = []byte{}
	for len(p.rest) > 0 {
		c := p.take(1)[0]
		switch {
		case c == quote:
			return value, true
		case c == '\\' && quote == '"' && len(p.rest) > 0:
			c = p.take(1)[0]
			if i := strings.IndexByte("nrt", c); i >= 0 {
				c = "\n\r\t"[i]
			}
		}
		value = append(value, c)
	}
	return nil, false
}

// Dotenv writes values as ParseDotenv, and a POSIX shell, read them.
func (v Values) Dotenv() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		b.WriteString(name)
		b.WriteByte('=')
		if bytes.IndexByte(value, '\'') < 0 {
			b.WriteByte('\'')
			b.Write(value)
			b.WriteByte('\'')
		} else {
			b.WriteByte('"')
			for _, c := range value {
				if strings.IndexByte("\\\"$`", c) >= 0 {
					b.WriteByte('\\')
				}
				b.WriteByte(c)
			}
			b.WriteByte('"')
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
