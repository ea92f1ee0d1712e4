package lifecycle

import (
	"encoding/json"
	"fmt"
	"strings"
)

// platformAPIs are the versions that we use, the best first. From 0.12 on, run images are told by their labels.
var platformAPIs = []string{"0.15", "0.14", "0.13", "0.12"}

// PlatformAPI picks a version out of a builder image's label.
func PlatformAPI(label string) (string, error) {
	var apis struct {
		Platform struct{ Deprecated, Supported []string }
	}
	if label == "" {
		return platformAPIs[0], nil // a builder that was not made by pack: the lifecycle itself will say
	}
	if err := json.Unmarshal([]byte(label), &apis); err != nil {
		return "", fmt.Errorf("its label of lifecycle APIs cannot be read: %w", err)
	}
	has := map[string]bool{}
	for _, v := range append(apis.Platform.Supported, apis.Platform.Deprecated...) {
		has[v] = true
	}
	for _, v := range platformAPIs {
		if has[v] {
			return v, nil
		}
	}
	return "", fmt.Errorf("its lifecycle speaks platform API %s, and we %s",
		strings.Join(apis.Platform.Supported, ", "), strings.Join(platformAPIs, ", "))
}
