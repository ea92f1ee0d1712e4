// Package annotation keeps what a release declares, as JSON in the annotations of its Service's template: so it goes live and is rolled back with the release.
package annotation

import "encoding/json"

// Set keeps a list under a name; an empty one removes it.
func Set[T any](annotations map[string]string, name string, all []T) error {
	if len(all) == 0 {
		delete(annotations, name)
		return nil
	}
	text, err := json.Marshal(all)
	if err == nil {
		annotations[name] = string(text)
	}
	return err
}

// Of returns the list under a name; nil for none.
func Of[T any](annotations map[string]string, name string) (all []T, err error) {
	if text := annotations[name]; text != "" {
		err = json.Unmarshal([]byte(text), &all)
	}
	return all, err
}
