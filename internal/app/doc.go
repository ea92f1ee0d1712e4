// Package app holds the vocabulary of the rest of gitd: apps, releases, keys, processes, errors for people to read, and
// the log of a push. It imports no other package of gitd.
package app
