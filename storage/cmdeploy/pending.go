package cmdeploy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"barid/smtp"
	"barid/storage/metadata"
)

// Waiting is a wake-up that waits in the reference's pending_notifications.
type Waiting struct {
	Account smtp.Address
	Token   string
	Since   time.Time
}

const (
	maxPending     = 100_000
	maxPendingFile = 64 << 10
)

// Pending reads the wake-ups that wait: files named by 32 hexadecimal digits,
// with the lines address, Unix time and token. Those that make no sense are
// counted and passed over, as the reference does.
func (t *Tree) Pending() (waiting []Waiting, bad int, err error) {
	entries, err := t.fs.ReadDir(pendingDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read pending notifications: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if id, err := hex.DecodeString(name); err != nil || len(id) != 16 || !e.Type().IsRegular() || len(waiting) == maxPending {
			bad++
			continue
		}
		text, err := readSmall(t.fs, pendingDir+"/"+name, maxPendingFile)
		w, ok := t.parsePending(string(text))
		if err != nil || !ok {
			bad++
			continue
		}
		waiting = append(waiting, w)
	}
	return waiting, bad, nil
}

func (t *Tree) parsePending(text string) (w Waiting, ok bool) {
	part := strings.SplitN(text, "\n", 3)
	if len(part) != 3 || !t.ours(part[0]) {
		return w, false
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(part[1]), 64)
	token := strings.TrimSuffix(part[2], "\n")
	if err != nil || !(at >= 0 && at < 1<<33) || token == "" || len(token) > metadata.MaxTokenSize {
		return w, false
	}
	return Waiting{t.address(part[0]), token, time.Unix(int64(at), 0)}, true
}
