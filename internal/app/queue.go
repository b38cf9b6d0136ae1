package app

import (
	"context"
	"errors"

	"barid/internal/admin"
	"barid/smtp/queue"
	"barid/storage"
)

// maxListed bounds the rows of one answer.
const maxListed = 10000

// errNoQueue is what the verbs of the queue give where there is none.
var errNoQueue = errors.New("this relay sends no mail to others")

// QueueList is what "barid queue list" shows.
type QueueList struct {
	Summary queue.Summary `json:"summary"`
	Rows    []queue.Row   `json:"rows"`
}

// QueueWhich is the question of a verb about entries.
type QueueWhich struct {
	queue.Which
	// Tell, for discard, lets the senders know.
	Tell bool `json:"tell,omitempty"`
}

// QueueCount is how many entries a verb was about.
type QueueCount struct {
	Entries int `json:"entries"`
}

// QueueAbout is what "barid queue show" and "why" tell. Addresses are shown to
// the operator alone, who asked for this entry.
type QueueAbout struct {
	queue.Row
	Text string   `json:"text"`
	From string   `json:"from"`
	To   []string `json:"to"`
}

// handleQueue answers what "barid queue" and "barid peers" ask.
func (a *App) handleQueue() {
	verb := func(name string, do func(context.Context, QueueWhich) (int, error)) {
		a.admin.Handle("POST /queue/"+name, admin.Answer(func(ctx context.Context, w QueueWhich) (QueueCount, error) {
			if a.queue == nil {
				return QueueCount{}, errNoQueue
			}
			n, err := do(ctx, w)
			return QueueCount{n}, err
		}))
	}
	verb("hold", func(ctx context.Context, w QueueWhich) (int, error) { return a.queue.Hold(ctx, w.Which) })
	verb("release", func(ctx context.Context, w QueueWhich) (int, error) { return a.queue.Release(ctx, w.Which) })
	verb("retry", func(_ context.Context, w QueueWhich) (int, error) { return a.queue.Retry(w.Which) })
	verb("discard", func(ctx context.Context, w QueueWhich) (int, error) { return a.queue.Discard(ctx, w.Which, w.Tell) })
	a.admin.Handle("POST /queue/list", admin.Answer(func(_ context.Context, w QueueWhich) (QueueList, error) {
		if a.queue == nil {
			return QueueList{}, errNoQueue
		}
		rows, err := a.queue.List(w.Which, maxListed)
		return QueueList{a.queue.Summary(), rows}, err
	}))
	a.admin.Handle("POST /queue/show", admin.Answer(func(ctx context.Context, w QueueWhich) (QueueAbout, error) {
		if a.queue == nil {
			return QueueAbout{}, errNoQueue
		}
		return a.aboutEntry(ctx, w)
	}))
	a.admin.Handle("POST /peers", admin.Answer(func(context.Context, struct{}) ([]queue.Peer, error) {
		if a.queue == nil {
			return nil, errNoQueue
		}
		return a.queue.Peers(), nil
	}))
}

// aboutEntry tells everything about one entry.
func (a *App) aboutEntry(ctx context.Context, w QueueWhich) (about QueueAbout, err error) {
	if len(w.IDs) != 1 {
		return about, errors.New("one entry is to be shown")
	}
	rows, err := a.queue.List(w.Which, 1)
	if err != nil {
		return about, err
	}
	about.Row = rows[0]
	if about.Text, err = a.queue.Why(w.IDs[0]); err != nil {
		return about, err
	}
	item, err := a.store.(storage.Queue).Queued(ctx, w.IDs[0])
	if err != nil {
		return about, err
	}
	about.From = item.From.Wire()
	for _, to := range item.To {
		about.To = append(about.To, to.Wire())
	}
	return about, nil
}
