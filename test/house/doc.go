// Package house holds the rules of gitd's own code: which package may import which, how long a file and a function may be. Its tests read the
// source; docs/architecture.md says what the packages are for.
package house
