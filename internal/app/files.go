package app

import (
	"fmt"

	"golang.org/x/sys/unix"

	"barid/internal/finding"
)

// spareFiles is how many files the relay itself has open at a time, beside one
// for each connection.
const spareFiles = 500

// fileFindings tells when the process may not open as many files as the
// configuration lets it have connections.
func (a *App) fileFindings() []finding.Finding {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return nil
	}
	return tooFewFiles(lim.Cur, a.cfg.Limits.MaxConnections)
}

func tooFewFiles(may uint64, connections int) []finding.Finding {
	if connections == 0 || may >= uint64(connections)+spareFiles {
		return nil
	}
	return []finding.Finding{{
		ID: "process.files", Severity: finding.Warning,
		Text:   fmt.Sprintf("The process may open %d files, and limits.max_connections is %d: some of those connections would fail.", may, connections),
		Remedy: fmt.Sprintf("Let it open %d (LimitNOFILE= of a systemd unit, ulimit -n of a shell), or lower limits.max_connections.", connections+spareFiles),
	}}
}
