package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Errors is every problem of one configuration, by line.
type Errors struct {
	Name     string // of the file, as the operator gave it
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	Line, Column int    // from 1, in octets; zero when it has no place in the file
	Key          string // dotted, "limits.max_message_size"; empty for broken syntax
	Text         string // what is wrong and what would be right
}

// Error gives one line for each problem: "barid.toml:12:3: limits.max_sise:
// unknown key, did you mean ...".
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		var b strings.Builder
		b.WriteString(e.Name)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
		if p.Key != "" {
			b.WriteString(p.Key + ": ")
		}
		b.WriteString(p.Text)
		lines[i] = b.String()
	}
	return strings.Join(lines, "\n")
}

// orNil sorts the problems and gives e, or nil when there are none.
func (e *Errors) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return e
}
