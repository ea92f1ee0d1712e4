package app

import "io"

// WindowSize is the size of a terminal, in characters. Zero is not known.
type WindowSize struct{ Rows, Columns uint16 }

// Client is the far end of a command that works with its client as a program does with a shell: the input as it comes, signals, and a
// terminal where there is one.
type Client struct {
	TTY     bool       // the client has a terminal, in raw mode while the command works with it
	Term    string     // $TERM of it
	Size    WindowSize // of it, at the start
	Resized <-chan WindowSize
	Signals <-chan string // what the client sends, without "SIG": "INT"
	// Raw returns the two ends of the terminal, whose bytes pass as they are from now on. It is nil without a terminal.
	Raw func() (io.Reader, io.Writer)
}

// Asked is what a command needs of its client.
type Asked struct {
	Input bool // it reads its standard input
	// Interactive has it get the client's signals, and its terminal: it works with the client as a program does with a shell.
	Interactive bool
	App         string // of an interactive command: it ends when the key loses the right to do Verb with the app
	Verb        Verb   // VerbUse for none
}
