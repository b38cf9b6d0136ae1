package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Set by the linker: -ldflags "-X main.version=0.1.0 -X main.commit=5b925f6".
// Empty in a plain build, which knows its commit from the Go tool.
var version, commit string

// build tells which barid this is.
func build() (ver, com string) {
	ver, com = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if ver == "" {
		ver = info.Main.Version
	}
	// The Go tool calls an untagged work tree "(devel)" or makes up a version
	// of its date and commit; the commit is shown anyway.
	if ver == "" || ver == "(devel)" || strings.HasPrefix(ver, "v0.0.0-") {
		ver = "dev"
	}
	if com == "" {
		com = vcs(info)
	}
	return ver, com
}

// vcs gives the short commit of a build in a work tree, with a "+" when files
// were changed.
func vcs(info *debug.BuildInfo) string {
	var revision, changed string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + changed
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and what it was built with",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ver, com := build()
			if com == "" {
				com = "unknown commit"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "barid %s (%s) %s %s/%s\n", ver, com, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return failed(err)
		},
	}
}
