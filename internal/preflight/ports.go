package preflight

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"barid/internal/finding"
)

// Port is one listener that the relay will have.
type Port struct {
	Name string // the key in the configuration: "listen.imaps"
	Addr string // "[::]:993"
}

// Ports tries to listen where the relay will, and tells where it cannot.
func Ports(ports []Port) (found []finding.Finding) {
	for _, p := range ports {
		l, err := net.Listen("tcp", p.Addr)
		if err == nil {
			err = l.Close()
		}
		_, number, _ := net.SplitHostPort(p.Addr)
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRINUSE):
			who, remedy := "another program", "Stop it, or give the relay another port ("+p.Name+")."
			if name := occupant("/proc", number); name != "" {
				who, remedy = name, "Stop and disable "+name+", or give the relay another port ("+p.Name+")."
			}
			found = append(found, finding.Finding{ID: "port.taken", Severity: finding.Fault,
				Text: "Port " + number + " is occupied by " + who + ".", Remedy: remedy})
		case errors.Is(err, syscall.EACCES):
			found = append(found, finding.Finding{ID: "port.forbidden", Severity: finding.Warning,
				Text:   "This user may not listen on port " + number + ".",
				Remedy: "Let the service do so (AmbientCapabilities=CAP_NET_BIND_SERVICE of a systemd unit, or setcap cap_net_bind_service=ep on the binary), or give the relay another port (" + p.Name + ")."})
		default:
			found = append(found, finding.Finding{ID: "port.unusable", Severity: finding.Fault,
				Text: fmt.Sprintf("The relay cannot listen on %s: %v.", p.Addr, errors.Unwrap(err)), Remedy: "Change " + p.Name + "."})
		}
	}
	return found
}

// listening is the state of a listening socket in /proc/net/tcp.
const listening = "0A"

// occupant gives the name of the program that listens on a port, as far as we
// may see it, else "".
func occupant(proc, port string) string {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	var inodes []string
	for _, file := range []string{"net/tcp", "net/tcp6"} {
		text, err := os.ReadFile(filepath.Join(proc, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 9 && fields[3] == listening && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) {
				inodes = append(inodes, "socket:["+fields[9]+"]")
			}
		}
	}
	if inodes == nil {
		return ""
	}
	// Another's files show only to root.
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && slices.Contains(inodes, to) {
			name, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "comm"))
			if err == nil {
				return strings.TrimSpace(string(name))
			}
		}
	}
	return ""
}
