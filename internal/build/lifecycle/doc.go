// Package lifecycle is what the engines share that run the programs of the CNB lifecycle: reading their output, telling their failures,
// and the environment of a build.
package lifecycle
