package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"barid/internal/admin"
	"barid/internal/netserve"
	"barid/storage/local"
)

// Handover is what a process leaves to the one that takes its place, so that
// a restart refuses nobody: listening sockets, and what makes the clients'
// return cheap.
type Handover struct {
	Sockets []HandedSocket `json:"sockets"`
	// TicketKeys open TLS session tickets; the newest is in use since TicketsSince.
	TicketKeys   [][32]byte `json:"ticket_keys"`
	TicketsSince time.Time  `json:"tickets_since"`
	// Remembered is what the store knows of passwords.
	Remembered []byte `json:"remembered"`
}

// HandedSocket is a listening socket as an open file of this process.
type HandedSocket struct {
	Name string `json:"name"` // the listener's, as in the configuration
	Addr string `json:"addr"` // as configured; empty is any
	FD   int    `json:"fd"`
}

// restartDrain is how long a restart waits for clients: meanwhile new ones
// queue at the listening sockets.
const restartDrain = 2 * time.Second

// maxHandover bounds what is read of a predecessor, in octets.
const maxHandover = 64 << 20

// Handover puts everything for a successor into a file that is in memory
// only, since it has secrets. The file and the sockets stay open over an
// exec. The App is of no use afterwards but to be stopped.
func (a *App) Handover() (f *os.File, err error) {
	var h Handover
	defer func() {
		if err != nil {
			for _, s := range h.Sockets {
				unix.Close(s.FD)
			}
		}
	}()
	a.mu.Lock()
	a.drainTime = restartDrain
	a.mu.Unlock()
	for _, s := range a.net.Sockets() {
		fd, err := duplicate(s.Listener)
		if err != nil {
			return nil, fmt.Errorf("hand over %s: %w", s.Name, err)
		}
		h.Sockets = append(h.Sockets, HandedSocket{s.Name, s.Addr, fd})
	}
	h.TicketKeys, h.TicketsSince = a.certs.TicketKeys()
	if st, ok := a.store.(*local.Store); ok {
		h.Remembered = st.Remembered()
	}
	fd, err := unix.MemfdCreate("barid-handover", 0)
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	f = os.NewFile(uintptr(fd), "barid-handover")
	if err := json.NewEncoder(f).Encode(&h); err != nil {
		return nil, errors.Join(fmt.Errorf("hand over: %w", err), f.Close())
	}
	return f, nil
}

// duplicate gives another descriptor of a socket, which an exec leaves open.
func duplicate(ln net.Listener) (int, error) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the successor listens on the same file
	}
	sc, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return 0, errors.ErrUnsupported
	}
	f, err := sc.File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD, 3) // without FD_CLOEXEC
}

// TakeOver reads what a predecessor left in f, which it closes.
func TakeOver(f *os.File) (*Handover, error) {
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	h := &Handover{}
	if err := json.NewDecoder(io.LimitReader(f, maxHandover)).Decode(h); err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	return h, nil
}

// inherit gives the server the sockets of a predecessor.
func (h *Handover) inherit(s *netserve.Server) error {
	for _, in := range h.Sockets {
		unix.CloseOnExec(in.FD)
		f := os.NewFile(uintptr(in.FD), in.Name)
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("take over the socket of %s: %w", in.Name, err)
		}
		s.Inherit(in.Name, in.Addr, ln)
	}
	return nil
}

// handleRestart answers what "barid restart" asks.
func (a *App) handleRestart() {
	a.admin.Handle("POST /restart", admin.Answer(func(context.Context, struct{}) (struct{}, error) {
		if a.opt.Restart == nil {
			return struct{}{}, errors.New("this relay cannot restart in place")
		}
		a.opt.Restart()
		return struct{}{}, nil
	}))
}
