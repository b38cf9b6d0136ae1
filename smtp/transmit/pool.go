package transmit

import (
	"context"
	"sync"
	"time"

	"barid/smtp/wire"
)

const (
	// idleTime is how long a connection waits for more mail. Peers cut at 5
	// minutes (RFC 5321 section 4.5.3.2.7), some at 2.
	idleTime = 90 * time.Second
	// trusted is how long a connection is used again without a question.
	trusted = time.Second
	// perHost and inAll bound the connections that wait.
	perHost = 4
	inAll   = 200
)

// waiting is a connection without a transaction.
type waiting struct {
	*wire.Client
	addr  string // of the peer, for replies
	since time.Time
	timer *time.Timer
}

// pool keeps SMTP connections between transactions.
type pool struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	idle   map[string][]*waiting
	n      int
	closed bool
}

// take gives a connection that still lives, nil when there is none.
func (p *pool) take(ctx context.Context, key string) *waiting {
	for {
		p.mu.Lock()
		list := p.idle[key]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		w := list[len(list)-1]
		p.drop(key, w)
		p.mu.Unlock()
		w.timer.Stop()
		if p.now().Sub(w.since) < trusted || w.Alive(ctx) {
			return w
		}
		w.Close()
	}
}

// drop takes w off the list; p.mu is held. False when it is not there.
func (p *pool) drop(key string, w *waiting) bool {
	list := p.idle[key]
	for i := range list {
		if list[i] == w {
			list = append(list[:i:i], list[i+1:]...)
			if p.idle[key] = list; len(list) == 0 {
				delete(p.idle, key)
			}
			p.n--
			return true
		}
	}
	return false
}

// put lets a connection wait for more mail, or closes it when enough do.
func (p *pool) put(key string, w *waiting) {
	p.mu.Lock()
	if p.closed || p.n >= inAll || len(p.idle[key]) >= perHost {
		p.mu.Unlock()
		w.Close()
		return
	}
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = map[string][]*waiting{}
	}
	w.since = p.now()
	w.timer = time.AfterFunc(idleTime, func() {
		p.mu.Lock()
		mine := p.drop(key, w)
		p.mu.Unlock()
		if mine {
			w.Close()
		}
	})
	p.idle[key] = append(p.idle[key], w)
	p.n++
}

// close closes what waits and keeps nothing from then on.
func (p *pool) close() {
	p.mu.Lock()
	lists := p.idle
	p.idle, p.n, p.closed = nil, 0, true
	p.mu.Unlock()
	for _, list := range lists {
		for _, w := range list {
			w.timer.Stop()
			w.Close()
		}
	}
}
