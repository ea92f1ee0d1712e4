package app

import (
	"slices"
	"strings"
)

// Caller is who asks for something: a registered key, as it was when it was identified, or root on the machine itself.
type Caller struct {
	Key   Key
	Local bool // root on the machine: may do everything, and needs no key
}

// Root is the caller that is root on the machine.
var Root = Caller{Local: true}

// Name is how the ledger names the caller.
func (c Caller) Name() string {
	if c.Local {
		return "root"
	}
	return c.Key.Name
}

// Allow decides whether key may do verb with the app named name; a is nil if the app does not exist yet. It returns an *Error:
// CodeForbidden, or CodeNotFound if the verb needs an app that exists. It only decides: store.Authorize calls it with the rights of
// this moment.
//
// This is the one place that says which verbs need an app that exists: all but VerbPush and VerbCreate.
//
// An admin may do everything. A key with a list of apps may read, push and change those. Any other key may create apps, and do everything
// with those it created.
func Allow(key Key, name string, a *App, verb Verb) error {
	if a == nil && verb != VerbCreate && verb != VerbPush {
		if !key.Admin && len(key.Apps) > 0 && !slices.ContainsFunc(key.Apps, func(s Scope) bool { return s.Name == name }) {
			return forbidden(key, name, verb) // a key learns only about its own apps
		}
		return NoApp(name)
	}
	switch {
	case key.Admin:
		return nil
	case len(key.Apps) > 0:
		if a != nil && a.ID != 0 && slices.Contains(key.Apps, Scope{name, a.ID}) && (verb == VerbRead || verb == VerbPush || verb == VerbChange) {
			return nil
		}
	case a == nil || a.Owner == key.Name:
		return nil
	}
	return forbidden(key, name, verb)
}

// NoApp returns the error for an app that does not exist.
func NoApp(name string) *Error {
	if _, of, ok := strings.Cut(name, PreviewMark); ok {
		return Errorf(CodeNotFound, "a push of its branch makes it: git push platform BRANCH; see the previews: gitd previews "+of, "preview %s does not exist", name)
	}
	return Errorf(CodeNotFound, "the first push creates it: git push ssh://git@HOST:PORT/"+name+" main; so does gitd apps create "+name+"; see the apps: gitd apps", "app %s does not exist", name)
}

// AllowServer says whether key may do verb, VerbUse or VerbManage, with the server. It returns an *Error with CodeForbidden.
func AllowServer(key Key, verb Verb) error {
	if verb == VerbManage && !key.Admin {
		return Errorf(CodeForbidden, "ask the operator, or use an administrator's key", "this needs an administrator's key, and %q is not one", key.Name)
	}
	return nil
}

func forbidden(key Key, name string, verb Verb) error {
	return Errorf(CodeForbidden, "ask the operator for a key with the right to it", "the key %q has no right to %s the app %q", key.Name, verb, name)
}
