package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// Which way is better.
const (
	lower  = "lower"
	higher = "higher"
)

// Row is one figure.
type Row struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	Better string  `json:"better"`           // lower or higher
	Target float64 `json:"target,omitempty"` // that the design must reach, on the machine it was set on
}

// Report is a whole run.
type Report struct {
	Began       time.Time   `json:"began"`
	Environment Environment `json:"environment"`
	Rows        []Row       `json:"rows"`
}

func (r Report) printHead(w io.Writer) {
	e := r.Environment
	fmt.Fprintf(w, "%s\n%s, %d processors; Linux %s; %s\n%s, journal: %s, fdatasync p50 %.2f ms\n\n",
		e.Version, e.CPU, e.Processors, e.Kernel, e.Go, e.FileSystem, e.Journal, e.Flush)
}

// print writes the table. Beside each figure stands how it compares with the
// run before: above 1 is better now.
func (r Report) print(w io.Writer, before Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tnow\tunit\trecorded\tnow is\ttarget")
	for _, row := range r.Rows {
		recorded, gain := "-", "-"
		for _, b := range before.Rows {
			if b.Name == row.Name && b.Value > 0 && row.Value > 0 {
				recorded = figure(b.Value)
				ratio := row.Value / b.Value
				if row.Better == lower {
					ratio = 1 / ratio
				}
				gain = fmt.Sprintf("x %.2f", ratio)
			}
		}
		target := "-"
		if row.Target > 0 {
			target = figure(row.Target)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, figure(row.Value), row.Unit, recorded, gain, target)
	}
	t.Flush()
	if len(before.Rows) > 0 {
		fmt.Fprintf(w, "\nrecorded: %s, %s; x 2.00 is twice as good as that\n",
			before.Began.Format(time.DateOnly), before.Environment.Version)
	}
}

// figure gives three digits that count.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func readReport(path string) (Report, error) {
	var r Report
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("recorded run: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("recorded run %s: %w", path, err)
	}
	return r, nil
}

func (r Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	return nil
}

// versionOf asks the measured program which one it is.
func versionOf(program string) string {
	out, err := exec.Command(program, "version").Output()
	if err != nil {
		return "unknown version"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}
