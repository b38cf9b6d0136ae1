package acme

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"barid/internal/wholefile"
)

// history is how the attempts to get certificates ended. It is kept over
// restarts: an authority counts failures whatever we forget, and stops
// listening to one who fails too often (five times an hour for a name is a
// usual bound).
type history struct {
	Names map[string]attempts `json:"names"`
}

// attempts are those for one name since the last success.
type attempts struct {
	Failures int       `json:"failures"`
	Error    string    `json:"error,omitempty"`
	Last     time.Time `json:"last"`
	Next     time.Time `json:"next,omitzero"`
}

// pauses follow failures; the last is kept. Fewer than five lie in an hour.
var pauses = [...]time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 45 * time.Minute, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// limitedPause follows an answer that we ask too often, at least. How long the
// authority wants us to wait stands in a field that the library does not show.
const limitedPause = time.Hour

func (s *Source) historyPath() string { return filepath.Join(s.cfg.Dir, "acme-history.json") }

// readHistory reads what was kept; one that cannot be read begins anew.
func readHistory(path string, log *slog.Logger) history {
	h := history{}
	text, err := readFile(path)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the history of issuance cannot be read and begins anew", "error", err)
	}
	return h
}

func (h *history) write(path string) error {
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Write(path, append(text, '\n'))
}

// note adds the end of an attempt; nil is success.
func (h *history) note(name string, err error, now time.Time) {
	if err == nil {
		h.Names[name] = attempts{Last: now}
		return
	}
	a := h.Names[name]
	a.Failures++
	a.Error, a.Last = err.Error(), now
	a.Next = now.Add(pauses[min(a.Failures, len(pauses))-1])
	if problem, ok := errors.AsType[acme.Problem](err); ok && problem.Status == http.StatusTooManyRequests {
		a.Next = now.Add(max(a.Next.Sub(now), limitedPause))
	}
	h.Names[name] = a
}

// wait tells how long to wait before the next attempt. A clock that went
// back cannot make it longer than the pause was.
func (h *history) wait(name string, now time.Time) time.Duration {
	a := h.Names[name]
	if a.Failures == 0 {
		return 0
	}
	return min(a.Next.Sub(now), max(limitedPause, pauses[min(a.Failures, len(pauses))-1]))
}
