package appversions

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"barid/internal/finding"
)

// List is the list as clients get it: shipped, none, or a file that is read
// again when it has changed.
type List struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex // guards the fields below
	info  fs.FileInfo
	value []byte
	err   error
}

// Words that stand in place of a file.
const (
	Shipped = "shipped" // the list that comes with the program
	None    = ""
)

// New gives the list in a file, or what one of the words says. A nil log is
// silent.
func New(path string, log *slog.Logger) *List {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &List{path: path, log: log}
	if path == Shipped {
		l.value, l.err = Minify(shipped)
	}
	return l
}

// Value gives the list in one line, to be written to by nobody; false when
// there is none, or none that clients could read.
func (l *List) Value() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	return l.value, l.value != nil && l.err == nil
}

// Findings tells what is wrong with the file.
func (l *List) Findings() []finding.Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	if l.err == nil {
		return nil
	}
	return []finding.Finding{{
		ID: "appversions.unreadable", Severity: finding.Warning,
		Text:   "Clients are told of no app versions: " + l.err.Error() + ".",
		Remedy: `Mend the file that imap.app_versions names, or set it to "shipped" or "".`,
	}}
}

// refresh looks whether the file has changed. The lock is held.
func (l *List) refresh() {
	if l.path == Shipped || l.path == None {
		return
	}
	info, err := os.Stat(l.path)
	if err == nil && l.info != nil && os.SameFile(info, l.info) && info.ModTime().Equal(l.info.ModTime()) && info.Size() == l.info.Size() {
		return
	}
	before := l.err
	l.info, l.value = info, nil
	if err == nil {
		l.value, err = readFile(l.path)
	}
	if l.err = err; err != nil && (before == nil || before.Error() != err.Error()) {
		l.log.Warn("the list of app versions cannot be told to clients", "part", "imap", "error", err)
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	value, err := Minify(list)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return value, nil
}
