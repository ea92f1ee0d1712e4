package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size formats a number of bytes, in the units of the settings: "759 bytes", "4 KiB", "1.5 GiB". One decimal is shown below ten.
func Size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	const units = "KMGT"
	value, unit := float64(n)/(1<<10), 0
	for ; math.Round(value) >= 1<<10 && unit < len(units)-1; unit++ {
		value /= 1 << 10
	}
	if value = math.Round(value*10) / 10; value >= 10 {
		value = math.Round(value)
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + " " + units[unit:unit+1] + "iB"
}

// Clip shortens s to n bytes and appends an ellipsis. A character that is cut is dropped.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// OneLine explains an error in one line of bounded length, as a log and git's reason in parentheses have it.
func OneLine(err error) string {
	message, _ := Explain(err)
	if errors.Is(err, context.Canceled) {
		message = "cancelled"
	}
	return Line(message, 500)
}

// Count says "1 object", "12 objects".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Line makes one line of text that is not trusted, of at most n bytes: white space is collapsed, so that the line cannot look like columns of a
// table, and control characters are removed (Plain).
func Line(s string, n int) string { return Clip(collapse(Plain(collapse(s))), n) }

func collapse(s string) string { return strings.Join(strings.Fields(s), " ") }
