package relay

import (
	"sync"

	"barid/relay/wire"
)

// chunkSize is one full TLS record.
const chunkSize = 16 << 10

// chunk holds frames that are ready to be written.
type chunk struct {
	b      []byte
	frames int
	disco  int // of them, packets with which clients look for a direct way
	next   *chunk
}

// chunks are two sizes of pooled memory: for many frames, and for one that is
// larger than a TLS record.
type chunks struct{ small, large sync.Pool }

// largeChunk takes the largest frame with what carries it.
const largeChunk = 1 + wire.KeySize + wire.MaxPacket + 14

func (p *chunks) get(n int) *chunk {
	pool, size := &p.small, chunkSize
	if n > chunkSize {
		pool, size = &p.large, max(n, largeChunk)
	}
	if c, ok := pool.Get().(*chunk); ok {
		return c
	}
	return &chunk{b: make([]byte, 0, size)}
}

func (p *chunks) put(c *chunk) {
	c.b, c.frames, c.disco, c.next = c.b[:0], 0, 0, nil
	if cap(c.b) > chunkSize {
		p.large.Put(c)
	} else {
		p.small.Put(c)
	}
}

// pool of all relays; it carries nothing from one use to the next.
var pool chunks

// outbox is what waits for one client: packets in order, and before them what
// the relay itself says. Whoever puts something in starts the writer when there
// is none, and never waits.
type outbox struct {
	mu          sync.Mutex // guards the fields below
	first, last *chunk
	frames      int
	held        int64 // octets of memory
	control     []byte
	writing     bool // somebody writes, or will look before he stops
	closed      bool
}

// outcome of putting something into an outbox.
type outcome int

const (
	taken   outcome = iota
	full            // the client's own queue
	noSpace         // the memory of all queues
	gone
)

// push queues a packet. start says that the caller must start a writer, for
// which the count of the server's work is already taken.
func (c *client) push(f wire.Frame) (o outcome, start bool) {
	n := c.carriage.Size(c.dialect, f)
	q := &c.out
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return gone, false
	case q.frames >= queueFrames:
		return full, false
	}
	at := q.last
	if at == nil || cap(at.b)-len(at.b) < n {
		var why outcome
		if at, why = c.room(n); at == nil {
			return why, false
		}
	}
	at.b = c.carriage.Append(at.b, c.dialect, f)
	at.frames++
	if c.dialect.Disco(f) {
		at.disco++
	}
	q.frames++
	return taken, c.begin()
}

// room adds a chunk for a frame of n octets, or tells why there is none.
// Called under the lock.
func (c *client) room(n int) (*chunk, outcome) {
	q, size := &c.out, int64(chunkSize)
	if n > chunkSize {
		size = largeChunk
	}
	if q.held+size > c.s.cfg.QueueBytes && q.first != nil {
		return nil, full
	}
	most := c.s.memory.max
	if q.first != nil || size > chunkSize {
		most -= most / 4 // the rest is for those for whom nothing waits
	}
	if !c.s.memory.take(size, most) {
		return nil, noSpace
	}
	q.held += size
	k := pool.get(n)
	if q.last != nil {
		q.last.next = k
	} else {
		q.first = k
	}
	q.last = k
	return k, taken
}

// say queues octets of the relay itself, which go before packets. They are
// dropped when a client does not read them.
func (c *client) say(b []byte) {
	q := &c.out
	q.mu.Lock()
	if q.closed || len(q.control)+len(b) > controlBytes {
		q.mu.Unlock()
		c.s.count.othersDropped.Inc()
		return
	}
	q.control = append(q.control, b...)
	start := c.begin()
	q.mu.Unlock()
	c.s.count.othersSent.Inc()
	if start {
		go c.write()
	}
}

// begin tells whether a writer must be started, and counts it. Called under
// the lock, while the connection itself is counted.
func (c *client) begin() bool {
	if c.out.writing {
		return false
	}
	c.out.writing = true
	c.s.work.Add(1)
	return true
}

// hold keeps writers away until release: the first words after a login are
// the relay's.
func (c *client) hold() { c.out.writing = true }

// release lets writers begin, with what came meanwhile.
func (c *client) release() {
	q := &c.out
	q.mu.Lock()
	q.writing = false
	start := !q.closed && (q.first != nil || len(q.control) > 0) && c.begin()
	q.mu.Unlock()
	if start {
		go c.write()
	}
}

// write writes all that waits, and ends.
func (c *client) write() {
	defer c.s.work.Done()
	for {
		control, k := c.take()
		if k == nil && control == nil {
			return
		}
		err := c.writeAll(control)
		if k != nil {
			if err == nil {
				err = c.writeAll(k.b)
			}
			c.free(k)
		}
		if err != nil {
			c.s.log.Debug("client lost", "peer", c.key, "error", err)
			c.cut() // the reader notices, and cleans up
			c.forget()
			return
		}
	}
}

// take gives what is to be written next. With nothing, the writer has stopped.
func (c *client) take() (control []byte, k *chunk) {
	q := &c.out
	q.mu.Lock()
	defer q.mu.Unlock()
	control, q.control = q.control, nil
	if k = q.first; k != nil {
		if q.first = k.next; q.first == nil {
			q.last = nil
		}
		q.frames -= k.frames
		c.s.count.packetsSent.Add(float64(k.frames))
		if k.disco > 0 {
			c.s.count.discoSent.Add(float64(k.disco))
		}
	}
	if control == nil && k == nil {
		q.writing = false
	}
	return control, k
}

// free gives back a chunk that take gave out.
func (c *client) free(k *chunk) {
	size := int64(cap(k.b))
	pool.put(k)
	c.s.memory.give(size)
	c.out.mu.Lock()
	c.out.held -= size
	c.out.mu.Unlock()
}

// forget closes the outbox and drops what is in it.
func (c *client) forget() {
	q := &c.out
	q.mu.Lock()
	k := q.first
	q.first, q.last, q.frames, q.control = nil, nil, 0, nil
	q.closed = true
	q.mu.Unlock()
	for k != nil {
		next := k.next
		c.s.count.left.Add(float64(k.frames))
		c.s.count.discoDropped.Add(float64(k.disco))
		c.free(k)
		k = next
	}
}
