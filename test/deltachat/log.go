package deltachat

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// tailLines is how much of a log a failed test prints.
const tailLines = 250

// password finds what a login URI, or the JSON of one, says in secret.
var password = regexp.MustCompile(`([?&](?:p|ipw|spw)=|"password":")[^&"\s]+`)

// coreLog keeps what went to and came from one core: the end of it in memory,
// all of it in a file where BARID_CORE_LOG asks for that.
type coreLog struct {
	start time.Time
	name  string

	mu   sync.Mutex // guards the fields below
	tail []string
	file *os.File
}

func newCoreLog(t testing.TB, name string) *coreLog {
	t.Helper()
	l := &coreLog{start: time.Now(), name: name}
	dir := os.Getenv("BARID_CORE_LOG")
	if dir == "" {
		return l
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("BARID_CORE_LOG: %v", err)
	}
	file := strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()+"-"+name) + ".log"
	f, err := os.Create(filepath.Join(dir, file))
	if err != nil {
		t.Fatalf("BARID_CORE_LOG: %v", err)
	}
	l.file = f
	return l
}

func (l *coreLog) printf(format string, args ...any) {
	text := password.ReplaceAllString(fmt.Sprintf(format, args...), "${1}(password)")
	line := fmt.Sprintf("%9.3f %s", time.Since(l.start).Seconds(), text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		fmt.Fprintln(l.file, line)
	}
	l.tail = append(l.tail, line)
	if len(l.tail) > 2*tailLines {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailLines:]...)
	}
}

func (l *coreLog) event(account uint32, e Event) {
	switch e.Kind {
	case "Info", "Warning", "Error":
		l.printf("%-7s %d %s", strings.ToLower(e.Kind), account, e.Text)
	default:
		l.printf("event   %d %s", account, e.Raw)
	}
}

// writer logs lines under a prefix.
func (l *coreLog) writer(prefix string) io.Writer { return &lineLog{log: l, prefix: prefix} }

type lineLog struct {
	log    *coreLog
	prefix string
	rest   []byte
}

func (w *lineLog) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok && len(w.rest) < maxLine {
			return len(p), nil
		}
		w.log.printf("%s %s", w.prefix, line)
		w.rest = rest
	}
}

// close prints the end of the log when the test failed.
func (l *coreLog) close(t testing.TB) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
	if t.Failed() {
		tail := l.tail[max(0, len(l.tail)-tailLines):]
		t.Logf("the last %d lines of %s:\n%s", len(tail), l.name, strings.Join(tail, "\n"))
	}
}
