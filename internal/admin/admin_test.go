package admin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"barid/internal/finding"
	"barid/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func someStatus() Status {
	started := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	return Status{
		Version: "0.1.0", Commit: "5b925f6", Domain: "_demo.test",
		Started: started, Now: started.Add(27*time.Hour + 5*time.Minute),
		Store: Store{State: "ok"},
		Expiry: &Expiry{
			Last: started.Add(-10 * time.Hour), Next: started.Add(14 * time.Hour), Says: "Removed 1 out of 20 mailboxes and 300 out of 4000 files in existing mailboxes in 2.5 seconds",
		},
		Queue: &Queue{Entries: 1203, Most: 250000, Octets: 7 << 20, InFlight: 12, Held: 1, Broken: 2, Oldest: (26*time.Hour + 3*time.Minute).Seconds()},
		Listeners: []Listener{
			{Name: "imaps", Addr: "127.0.0.1:10027"},
			{Name: "submissions", Addr: "127.0.0.1:10025"},
		},
		Limits: []Limit{
			{Name: "connections", Use: 0, Max: 20000},
			{Name: "imaps_connections", Use: 812, Max: 10000},
			{Name: "new_per_network", Use: 1, Refused: 37},
		},
		Counters: map[string]float64{"delivered_messages": 123456789, "refused_logins": 4, "failed_flushes": 0},
		Findings: []finding.Finding{
			{ID: "tls.self-signed", Severity: finding.Info, Text: "The certificate is self-signed.", Remedy: ""},
			{ID: "disk.low", Severity: finding.Fault, Text: "The disk is 98 % full.", Remedy: "Make room, or lower limits.max_mailbox_size."},
		},
	}
}

func serve(t *testing.T, dir string, status func() Status) *Server {
	t.Helper()
	s, err := Listen(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(t.Context()) })
	s.Serve(status)
	return s
}

// What the relay says about itself is what the command line gets.
func TestStatusTravelsUnchanged(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, someStatus)
	got, err := Dial(dir).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(someStatus(), got); d != "" {
		t.Error(d)
	}
}

// Only the relay's own user may ask.
func TestSocketHasMode0600(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, someStatus)
	info, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// A relay that was killed leaves its socket; the next one takes the place.
func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	dir := t.TempDir()
	dead, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if _, err := Dial(dir).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("asked a dead socket: %v", err)
	}
	serve(t, dir, someStatus)
	if _, err := Dial(dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is no socket is not ours to remove.
func TestFileInTheWayIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Listen(dir, nil); err == nil {
		s.Close(t.Context())
		t.Error("took the place of a file")
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file now has %q", text)
	}
}

// A data directory may lie deeper than a socket address can say.
// A relay on a disk without an inode left serves its users, and can be asked
// as soon as there is room.
func TestAFullDiskDelaysTheSocket(t *testing.T) {
	dir := t.TempDir()
	d, err := openDoor(dir)
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	full := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.ENOSPC)}
	listen := func() (net.Listener, error) {
		if tries++; tries < 3 {
			return nil, full
		}
		return d.listen()
	}
	s, err := listenBy(listen, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.door, s.every = d, time.Millisecond
	s.Serve(someStatus)
	for {
		_, err := Dial(dir).Status(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNotRunning) {
			t.Fatal(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, served := range []bool{false, true} { // it never gets room
		s, err := listenBy(func() (net.Listener, error) { return nil, full }, nil)
		if err != nil {
			t.Fatal(err)
		}
		if served {
			s.Serve(someStatus)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("served %v: %v", served, err)
		}
	}
}

func TestLongPathWorks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 120), strings.Repeat("b", 120))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, someStatus)
	if _, err := Dial(dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// The lengths around the border of sun_path all work.
func TestEveryPathLengthWorks(t *testing.T) {
	base := t.TempDir()
	for n := maxSocketPath - len(SocketName) - 3; n <= maxSocketPath-len(SocketName)+2; n++ {
		dir := base + "/" + strings.Repeat("x", n-len(base)-1)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		serve(t, dir, someStatus)
		if _, err := Dial(dir).Status(t.Context()); err != nil {
			t.Errorf("directory of %d octets: %v", n, err)
		}
	}
}

// Nobody there is told apart from everything else.
func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(dir).Status(t.Context())
	if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	_, err = Dial(filepath.Join(dir, strings.Repeat("c", 130))).Status(t.Context())
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("a long directory that does not exist: %v", err)
	}
}

// An unserved Server leaves nothing behind either.
func TestCloseWithoutServe(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// An answer under way is finished before Close returns; one that hangs is cut.
func TestCloseWaits(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	s.Handle("GET /slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	s.Serve(someStatus)
	asked := make(chan error, 1)
	go func() {
		var nothing any
		asked <- Dial(dir).get(context.Background(), "/slow", &nothing)
	}()
	<-begun
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Close of a hanging answer: %v", err)
	}
	if err := <-asked; err == nil {
		t.Error("the cut answer was no error")
	}
	close(end)
}

// Limits and counters come out of the registry as they are now.
func TestRegistryIsRead(t *testing.T) {
	r := metrics.New()
	use := int64(3)
	r.Limit(metrics.Limit{Name: "b_conns", Help: "b", Max: 5, Use: func() int64 { return use }, Refused: func() int64 { return 2 }})
	r.Limit(metrics.Limit{Name: "a_conns", Help: "a", Use: func() int64 { return 0 }})
	r.Counter("accepted", "messages").Add(7)
	use = 4
	want := []Limit{{Name: "a_conns", Help: "a"}, {Name: "b_conns", Help: "b", Use: 4, Max: 5, Refused: 2}}
	if d := cmp.Diff(want, LimitsOf(r)); d != "" {
		t.Error(d)
	}
	got, err := CountersOf(r, "accepted", "no_such")
	if d := cmp.Diff(map[string]float64{"accepted": 7}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got := LimitsOf(nil); len(got) != 0 {
		t.Errorf("no registry: %v", got)
	}
}
