package relay

import "barid/relay/wire"

// join makes a connection that has logged in one that packets come to, and
// tells the one that had them before.
func (s *Server) join(c *client) {
	s.count.accepts.Inc()
	replaced, surplus := s.hub.register(c)
	if replaced == nil {
		s.count.uniqueKeys.Inc()
	} else {
		s.count.inactiveAdded.Inc()
		replaced.tellReplaced()
	}
	if surplus != nil {
		surplus.cut()
	}
}

// part takes it out again, and tells those who need to know.
func (s *Server) part(c *client) {
	s.count.disconnects.Inc()
	promoted, wasInactive, bereft := s.hub.unregister(c)
	if promoted != nil || wasInactive {
		s.count.inactiveRemoved.Inc()
	}
	if promoted != nil && promoted.dialect == wire.V2 {
		promoted.tell(wire.Frame{Kind: wire.Status, Code: wire.Healthy})
	}
	for _, k := range bereft {
		if peer := s.hub.find(k); peer != nil {
			peer.tell(wire.Frame{Kind: wire.Gone, Key: c.key})
		}
	}
	bereft.forget(&s.memory)
}

// tellReplaced says that another connection has the same key.
func (c *client) tellReplaced() {
	f := wire.Frame{Kind: wire.Health, Text: []byte("another endpoint connected with the same endpoint id")}
	if c.dialect == wire.V2 {
		f = wire.Frame{Kind: wire.Status, Code: wire.KeyElsewhere}
	}
	c.tell(f)
}
