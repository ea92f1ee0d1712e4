package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Size formats a number of bytes: "759 bytes", "4 KB", "1.5 GB".
func Size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KB", (n+1<<9)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%d MB", (n+1<<19)>>20)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
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
