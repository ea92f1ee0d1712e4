package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setFlags returns the flags that were given, as arguments.
func setFlags(cmd *cobra.Command) []string {
	var line []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "data" {
			return
		}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range many.GetSlice() {
				line = append(line, "--"+f.Name+"="+v)
			}
			return
		}
		value := f.Value.String()
		if file, ok := f.Value.(interface{ Absolute() (string, error) }); ok { // the server has another working directory
			if name, err := file.Absolute(); err == nil {
				value = name
			}
		}
		line = append(line, "--"+f.Name+"="+value)
	})
	return line
}
