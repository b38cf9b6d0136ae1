package netserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// unixPrefix begins the address of a Unix socket: "unix:/run/barid/https".
const unixPrefix = "unix:"

// Inherit gives the server a listening socket that somebody else opened: the
// process before this one, or systemd. The next Listen for a Listener of that
// Name and address takes it; with an empty addr it is taken for any address,
// in place of the first that is not yet open. What nobody takes is closed by
// CloseInherited.
func (s *Server) Inherit(name, addr string, ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inherited = append(s.inherited, inherited{name, addr, ln})
}

// inherited is a socket that waits for its Listener.
type inherited struct {
	name, addr string
	ln         net.Listener
}

// takeInherited gives the socket that was opened for l, nil when there is none.
func (s *Server) takeInherited(l Listener) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, in := range s.inherited {
		if in.name == l.Name && (in.addr == "" || in.addr == l.Addr) {
			s.inherited = append(s.inherited[:i:i], s.inherited[i+1:]...)
			return in.ln
		}
	}
	return nil
}

// CloseInherited closes the sockets that no Listen took, and tells how many
// there were.
func (s *Server) CloseInherited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.inherited)
	for _, in := range s.inherited {
		in.ln.Close()
	}
	s.inherited = nil
	return n
}

// Sockets gives the listening sockets with the names and addresses of their
// Listeners, for a process that is to inherit them.
func (s *Server) Sockets() (all []Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.listening {
		all = append(all, Socket{a.Name, a.Addr, a.ln})
	}
	return all
}

// Socket is one listening socket.
type Socket struct {
	Name, Addr string // as in the Listener
	Listener   net.Listener
}

// open opens the socket of l.
func openSocket(l Listener) (net.Listener, error) {
	// No TCP keep-alive: a probe every 15 s would wake every idle phone's
	// radio. Protocols have their own lines and bounds of silence.
	lc := net.ListenConfig{KeepAlive: -1}
	path, isUnix := strings.CutPrefix(l.Addr, unixPrefix)
	if !isUnix {
		ln, err := lc.Listen(context.Background(), "tcp", l.Addr)
		return ln, explain(err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// Who may connect is said by the directory that it lies in.
	return ln, os.Chmod(path, 0o666)
}

// explain says what to do about a port that only root may have.
func explain(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: ports below 1024 want root, AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, a systemd socket, or net.ipv4.ip_unprivileged_port_start", err)
	}
	return err
}

// removeStale removes a socket file that nobody listens on any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // the directory's faults are told by the listening
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("%s: another process listens on it", path)
	}
	return os.Remove(path)
}
