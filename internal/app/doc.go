// Package app holds the words that the rest of gitd speaks in: apps, releases, keys, processes, errors made for people and
// the log of a push. It imports nothing else of gitd.
package app
