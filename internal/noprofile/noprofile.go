// Package noprofile switches the profile of memory off. It would be on because a dependency links the handlers that show it, which nothing here
// serves: each half megabyte that is allocated would cost a walk up the stack, through parts of the program that are not read otherwise.
// It imports nothing, so it is among the first packages to be initialised.
package noprofile

import "runtime"

func init() { runtime.MemProfileRate = 0 }
