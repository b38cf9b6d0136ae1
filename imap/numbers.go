package imap

import (
	"math"

	"barid/imap/wire"
	"barid/storage"
)

// messageNumbers is which messages a command means: a set, or what the last
// saved search found.
type messageNumbers struct {
	set   wire.Set
	saved bool
}

func takeNumbers(c *wire.Command) messageNumbers {
	set, saved := c.SetOrSaved()
	return messageNumbers{set, saved}
}

// pick gives the places in told of the messages that are meant, ascending.
func (s *session) pick(n messageNumbers, byUID bool) []int {
	told := s.box.told
	set := s.uidSet(n)
	if byUID = byUID || n.saved; !byUID {
		set = n.set.Resolve(uint32(len(told)))
	}
	var places []int
	for _, r := range set {
		i := int(r.First) - 1
		if byUID {
			i, _ = find(told, storage.UID(r.First))
		}
		for ; i < len(told) && (byUID && uint32(told[i].UID) <= r.Last || !byUID && uint32(i) < r.Last); i++ {
			places = append(places, i)
		}
	}
	return places
}

// uidSet gives UIDs as a resolved set.
func (s *session) uidSet(n messageNumbers) wire.Set {
	if n.saved {
		return s.box.saved
	}
	return n.set.Resolve(uint32(lastUID(s.box.told)))
}

// askedUIDs gives UIDs of messages that may be gone as a resolved set: "*" is
// no message then, but the end.
func (s *session) askedUIDs(n messageNumbers) wire.Set {
	if n.saved {
		return s.box.saved
	}
	return n.set.Resolve(math.MaxUint32)
}
