package app

import (
	"errors"
	"fmt"
	"syscall"

	"barid/internal/finding"
	"barid/internal/netserve"
)

// without tells whether the relay goes on without a listener whose port
// another process has, and remembers it then. Mail and pages need no port 80:
// it redirects, and proves names in one of several ways.
func (a *App) without(l netserve.Listener, err error) bool {
	if l.Name != "http" || !errors.Is(err, syscall.EADDRINUSE) {
		return false
	}
	a.mu.Lock()
	a.taken = append(a.taken, l.Addr)
	a.mu.Unlock()
	a.log.Error("a port is taken, serving without it", "part", "app", "listener", l.Name, "error", err)
	return true
}

// takenFindings tells of the listeners that are missing.
func (a *App) takenFindings() (found []finding.Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range a.taken {
		found = append(found, finding.Finding{
			ID: "listen.http-taken", Severity: finding.Warning,
			Text:   fmt.Sprintf("Another process listens on %s: nothing there leads to the pages, and certificates cannot be proved by it.", addr),
			Remedy: "End that process and run barid restart; or let it pass requests on (barid config snippets) and change listen.http.",
		})
	}
	return found
}
