package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Deadlines of a request. Who asks sits on the same machine.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 60 * time.Second
)

// roomEvery is how often the socket is tried again on a disk that has no room
// for it.
const roomEvery = 10 * time.Second

// Server answers on the socket.
type Server struct {
	door    *door
	listen  func() (net.Listener, error) // makes the socket
	every   time.Duration                // as roomEvery
	socket  net.Listener                 // nil while the disk has no room for it
	log     *slog.Logger
	http    *http.Server
	mux     *http.ServeMux
	stopped <-chan struct{}
	stop    context.CancelFunc // ends what streams
	done    chan struct{}      // closed when the serving goroutine ended; nil before Serve
}

// Listen makes the socket in dataDir, which must exist and whose lock the
// caller must hold. Nothing is answered before Serve. The caller closes the
// Server, served or not. A nil logger discards.
//
// A full disk, which has no inode for the socket, is no error: a relay that
// cannot be asked still serves, and Serve tries again.
func Listen(dataDir string, logger *slog.Logger) (*Server, error) {
	d, err := openDoor(dataDir)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	s, err := listenBy(d.listen, logger)
	if err != nil {
		d.close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	s.door = d
	return s, nil
}

// noRoom tells a full disk from other troubles.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func listenBy(listen func() (net.Listener, error), logger *slog.Logger) (*Server, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l, err := listen()
	if err != nil {
		if !noRoom(err) {
			return nil, err
		}
		l = nil
		logger.Error("the relay cannot be asked: the disk has no room for its socket", "part", "admin", "error", err)
	}
	mux := http.NewServeMux()
	stopped, stop := context.WithCancel(context.Background())
	base := context.WithValue(context.Background(), stopKey{}, stopped)
	return &Server{door: &door{}, listen: listen, every: roomEvery, socket: l, log: logger, mux: mux, stopped: stopped.Done(), stop: stop, http: &http.Server{
		Handler:           mux,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.With("part", "admin").Handler(), slog.LevelWarn),
	}}, nil
}

// Handle adds an answer; pattern is that of http.ServeMux. To be called
// before Serve.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Serve begins to answer, GET /status with what status gives, and returns at
// once.
func (s *Server) Serve(status func() Status) {
	s.mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(status(), "", "  ")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(text, '\n'))
	})
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if s.waitForSocket() {
			s.http.Serve(s.socket) // ends with ErrServerClosed: nothing else closes the socket
		}
	}()
}

// waitForSocket tries until there is a socket; false when Close was faster.
func (s *Server) waitForSocket() bool {
	again := time.NewTicker(s.every)
	defer again.Stop()
	for s.socket == nil {
		select {
		case <-s.stopped:
			return false
		case <-again.C:
		}
		l, err := s.listen()
		if err != nil {
			continue // Listen has told it
		}
		s.socket = l
		s.log.Info("the relay can be asked again", "part", "admin")
	}
	return true
}

// Close removes the socket, ends the context of streams, lets answers that
// are under way finish until ctx ends, and waits for the serving goroutine.
func (s *Server) Close(ctx context.Context) error {
	defer s.door.close()
	s.stop()
	if s.done == nil {
		if s.socket == nil {
			return nil
		}
		return s.socket.Close()
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}
