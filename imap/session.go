package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"barid/imap/wire"
	"barid/internal/netserve"
	"barid/storage"
)

// Bounds in time. A client reads slowly while it decrypts, so a write may
// stall for long; RFC 9051 section 5.4 wants half an hour of patience.
const (
	loginTime    = 3 * time.Minute // from connect to login
	silentLogin  = time.Minute
	silentAfter  = 31 * time.Minute
	silentUpload = time.Minute
	uploadFloor  = 500 // octets per second of an APPEND
	stall        = 3 * time.Minute
	refusalDelay = 2 * time.Second
	pause        = 4 * time.Second // between two commands, while the server drains: a slow phone reads some messages in it
)

// Bounds of misbehaviour: logins refused, commands that are none.
const (
	maxRefusals = 3
	maxBad      = 30
)

const goingAway = "Server is going away"

// Limits of a command before and after login.
var (
	limitsBefore = wire.Limits{Line: 8 << 10, Literal: 4 << 10, Total: 16 << 10, Tokens: 64, Skip: 16 << 10}
	limitsAfter  = wire.Limits{Line: 64 << 10, Literal: 64 << 10, Total: 128 << 10, Tokens: 4000}
)

// state is what a client has reached; the values are bits so that a command
// can name several.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected

	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// session is one connection. Its goroutines: the one of run, which only
// waits; while the client has something to say, a worker, which alone reads,
// and holds mu from the end of a command's first line to the end of its
// answer; and short ones that a bell, a timer or the end of the server
// starts, which take mu.
type session struct {
	sv     *Server
	conn   *netserve.Conn
	ctx    context.Context // after begin it never ends
	member member
	queued link // guarded by its queue

	working  sync.WaitGroup // the worker
	others   sync.WaitGroup // the short goroutines
	idling   atomic.Bool    // written under mu
	rung     atomic.Bool    // a short goroutine is under way for the bell
	draining atomic.Bool
	over     atomic.Bool // nothing more is read or said

	// The worker's own, and run's between two workers.
	in   *wire.Reader  // nil while nothing is to be read
	comp *compressed   // nil until COMPRESS; written under mu
	wait time.Duration // of a refused login, before its answer

	mu  sync.Mutex   // guards the fields below
	out *wire.Writer // nil while nothing is to be written
	// clear allows a login without TLS.
	clear    bool
	state    state
	asked    bool          // asked for CAPABILITY, or logged in by AUTHENTICATE
	deltaID  bool          // said ID "Delta Chat"
	modSeqs  bool          // is told of mod-sequences (RFC 7162)
	qresync  bool          // is told of expunged messages by UID
	rev2     bool          // speaks as RFC 9051 does
	refusals uint8         // logins refused so far
	bad      uint8         // commands that were none
	held     bool          // a refused login waits for its answer; like wait, not mu's
	tag      string        // of the IDLE or the refused login under way
	spoke    time.Duration // after Server.began: when the last command was answered
	away     *time.Timer   // the next look at whether the client can be sent away

	account   storage.Account
	clientKey uint64
	box       mailbox
}

// run serves the connection to its end. Whatever makes a stack grow is done
// elsewhere: nearly all sessions idle nearly all the time, and then this is
// all that is left of them, 2 KiB that would not shrink again.
func (s *session) run() {
	s.work((*session).begin)
	for !s.over.Load() {
		if s.held {
			s.awaitRefusal()
			s.work((*session).refuse)
			continue
		}
		if s.conn.WaitReadable() != nil { // in IDLE there is no deadline
			break
		}
		s.work((*session).serve)
	}
	s.work((*session).end)
	s.others.Wait()
}

// begin makes the session known, greets and takes the first commands.
func (s *session) begin() {
	s.state = notAuthenticated
	s.conn.SetPace(netserve.Pace{Silence: silentLogin, Stall: silentLogin})
	s.sv.sessions.Add(1)
	s.sv.groups.enter(s)
	s.sv.logins.join(s)
	s.greet()
	s.serve()
}

// end undoes what the session did to others.
func (s *session) end() {
	s.conn.Stream().Close() // says goodbye in TLS, too
	s.mu.Lock()
	if s.state == notAuthenticated {
		s.sv.logins.leave(s)
	}
	if s.away != nil && s.away.Stop() {
		s.others.Done()
	}
	s.leaveIdle()
	s.unselect()
	s.sv.perClient.leave(s.clientKey)
	if s.comp != nil {
		s.sv.compressed.Add(-1)
	}
	s.mu.Unlock()
	s.sv.groups.leave(s)
	s.sv.sessions.Add(-1)
}

// work runs one phase on a goroutine of its own, whose stack may grow and
// is then thrown away, and waits for it.
func (s *session) work(phase func(*session)) {
	s.working.Add(1)
	go s.worker(phase)
	s.working.Wait()
}

func (s *session) worker(phase func(*session)) {
	defer s.working.Done()
	defer s.caught()
	phase(s)
}

// caught is deferred: a panic, a fault of ours, costs this connection and
// not all of them.
func (s *session) caught() {
	if fault := recover(); fault != nil {
		s.over.Store(true)
		s.conn.Close()
		s.sv.failures.Inc()
		s.sv.log.Error("panic in a session", "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
	}
}

// locked runs f under the lock and writes what it has to say. The connection
// is over when that cannot be written.
func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.flush()
}

// writer gives the writer, with memory from the pool.
func (s *session) writer() *wire.Writer {
	if s.out == nil {
		s.out = s.sv.writers.Get().(*wire.Writer)
		s.out.Reset(s.stream())
	}
	return s.out
}

// flush writes what was collected and gives the memory back.
func (s *session) flush() {
	if s.out == nil {
		return
	}
	err := s.out.Flush()
	s.out.Reset(nil)
	s.sv.writers.Put(s.out)
	s.out = nil
	if err != nil && !s.over.Load() {
		s.lost(err)
	}
}

// takeReader gets the reader's memory, unless it is here.
func (s *session) takeReader() {
	if s.in == nil {
		s.in = s.sv.readers.Get().(*wire.Reader)
		s.in.Reset(s.stream())
	}
}

// releaseReader gives the memory back when nothing is in it.
func (s *session) releaseReader() {
	if s.in == nil || s.in.Buffered() > 0 || s.in.MayHide() {
		return
	}
	s.dropReader()
}

// dropReader gives the memory back, and forgets what is in it.
func (s *session) dropReader() {
	s.in.Reset(nil)
	s.sv.readers.Put(s.in)
	s.in = nil
}

// serve takes what the client sends, until it idles and has said nothing
// more, or a refused login waits for its answer.
func (s *session) serve() {
	for !s.over.Load() && !s.held {
		err := s.next() // not under the lock: it may last
		s.locked(func() { s.step(err) })
		if s.idling.Load() && s.nothingRead() {
			break
		}
	}
	s.releaseReader()
}

// next waits for a line, without a buffer while there is nothing of one.
func (s *session) next() error {
	if s.nothingRead() {
		s.releaseReader()
		if err := s.conn.WaitReadable(); err != nil {
			return err
		}
	}
	s.takeReader()
	return s.in.Await(s.limits().Line)
}

// limits gives those of the next command. Only the worker may ask, which
// alone changes the state.
func (s *session) limits() wire.Limits {
	if s.state == notAuthenticated {
		return limitsBefore
	}
	limits := limitsAfter
	limits.Skip, limits.UTF8 = s.sv.cfg.MaxMessageSize, s.rev2
	return limits
}

// nothingRead tells whether all that was read is answered, so that the
// socket tells when there is more.
func (s *session) nothingRead() bool {
	return (s.in == nil || s.in.Buffered() == 0 && !s.in.MayHide()) && !s.conn.Buffered() && (s.comp == nil || !s.comp.Pending())
}

// step takes one line, and the rest of the command that it begins.
func (s *session) step(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye("Disconnected for inactivity")
	case err != nil:
		s.broken(err)
	case s.idling.Load():
		s.idleLine()
	default:
		s.command()
	}
	s.spoke = time.Since(s.sv.began)
	if s.draining.Load() && !s.over.Load() && !s.held && !s.halfDone() {
		s.bye(goingAway)
	}
}

// ask invites the client to send its literal.
func (s *session) ask() error {
	s.writer().Raw("+ OK\r\n")
	return s.writer().Flush()
}

// lost ends a connection that cannot be read or written any more.
func (s *session) lost(err error) {
	s.over.Store(true)
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.sv.log.Debug("connection lost", "account", s.account.Address, slog.String("kind", errorKind(err)))
	}
}

// errorKind names an error without quoting it: network errors carry
// addresses.
func errorKind(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, wire.ErrLine), errors.Is(err, wire.ErrLiteral), errors.Is(err, wire.ErrDeflate):
		return "protocol"
	}
	return "network"
}

// bye says why the connection ends, and ends it.
func (s *session) bye(why string) {
	if s.over.Load() {
		return
	}
	out := s.writer()
	out.Raw("* BYE ")
	out.Text(why)
	out.EOL()
	s.over.Store(true)
}

// tooLate ends a connection that never logged in. It is called under the
// lock of a queue.
func (s *session) tooLate() {
	s.others.Add(1)
	go func() {
		defer s.others.Done()
		s.conn.Close()
	}()
}

// drain tells the session to end. It is called under the lock of the groups.
func (s *session) drain() {
	s.draining.Store(true)
	s.others.Add(1)
	go s.sendAway()
}

// sendAway says goodbye to a client that has nothing half done: that idles,
// has no mailbox selected, or was silent for a pause. One that has read mail
// and is about to delete it takes a BYE for the answer and never comes back
// to it, so it may go on until then.
func (s *session) sendAway() {
	defer s.others.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return
	}
	if wait := pause - (time.Since(s.sv.began) - s.spoke); s.halfDone() && wait > 0 {
		s.others.Add(1)
		s.away = time.AfterFunc(wait, s.sendAway)
		return
	}
	io.WriteString(s.stream(), "* BYE "+goingAway+"\r\n")
	s.conn.Close()
}

// halfDone tells whether a client may be between two commands that belong
// together.
func (s *session) halfDone() bool { return s.state == selected && !s.idling.Load() }
