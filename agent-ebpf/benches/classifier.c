/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
 *
 * What the packet bench compares the Rust programs with: the same receive classifier for Ethernet devices, the way one
 * would write it in C. Same maps, same rules, same order of checks, same fallback for headers that cannot be read
 * directly; see ../src/packet for what the rules are and where they come from. Used by nothing but the bench.
 */

#include <linux/bpf.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __u64 u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NOT_INLINE static __attribute__((noinline))

#define be16(value) __builtin_bswap16(value)

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static long (*bpf_skb_load_bytes)(const void *skb, u32 offset, void *to, u32 length) =
	(void *)BPF_FUNC_skb_load_bytes;

/* Maps, as in src/layout.rs. */

struct port_counters_value {
	u64 rx_bytes, rx_packets, tx_bytes, tx_packets, port, reserved[3];
} __attribute__((aligned(64)));

struct unattributed_value {
	u64 packets, bytes;
};

struct ipv6_address {
	u64 halves[2];
};

struct map_life_value {
	u8 id[16], ledger_id[16], boot_id[16];
	u64 netns_cookie, created_at_unix_seconds;
	u32 layout_version, slot_capacity, cpu_count, reserved;
};

#define MAP(name, kind, entries, flags, key_type, value_type) \
	struct { \
		int (*type)[kind]; \
		key_type *key; \
		value_type *value; \
		int (*max_entries)[entries]; \
		int (*map_flags)[flags]; \
	} name SECTION(".maps")

MAP(port_slots, BPF_MAP_TYPE_ARRAY, 65536, 0, u32, s32);
MAP(port_counters, BPF_MAP_TYPE_ARRAY, 1, BPF_F_MMAPABLE, u32, struct port_counters_value);
MAP(local_addresses_v4, BPF_MAP_TYPE_HASH, 4096, 0, u32, u8);
MAP(local_addresses_v6, BPF_MAP_TYPE_HASH, 4096, 0, struct ipv6_address, u8);
MAP(unattributed, BPF_MAP_TYPE_PERCPU_ARRAY, 5, 0, u32, struct unattributed_value);
MAP(map_life, BPF_MAP_TYPE_ARRAY, 1, 0, u32, struct map_life_value);

const volatile u32 SLOT_CAPACITY = 0;

char LICENSE[] SECTION("license") = "Dual MIT/GPL";

enum reason { FORWARDED, FRAGMENT, MALFORMED, HEADER_CHAIN, SLOT_MISSING };

/* Headers. */

struct ipv4_header {
	u8 version_and_length, service;
	u16 total_length, id, fragment;
	u8 ttl, protocol;
	u16 checksum;
	u32 source, destination;
};

struct ipv6_header {
	u8 version, flow[3];
	u16 payload_length;
	u8 next_header, hop_limit;
	struct ipv6_address source, destination;
};

struct extension_header {
	u8 next_header, length;
	u16 fragment;
};

struct ports {
	u16 source, destination;
};

enum {
	ETHERNET_HEADER_BYTES = 14,
	VLAN_TAGS_MAX = 4,
	EXTENSION_HEADERS_MAX = 8,
	TCP = 6,
	UDP = 17,
	HOP_BY_HOP = 0,
	ROUTING = 43,
	FRAGMENT_HEADER = 44,
	AUTHENTICATION = 51,
	DESTINATION_OPTIONS = 60,
};

/* Reading: directly, or through the helper; `WHOLE` is a constant in each of the two programs below. */

struct reader {
	struct __sk_buff *skb;
	u8 *data, *data_end;
	int whole;
};

INLINE const void *read_bytes(const struct reader *reader, u64 offset, u32 length, void *buffer)
{
	if (reader->whole)
		return bpf_skb_load_bytes(reader->skb, offset, buffer, length) == 0 ? buffer : 0;
	u8 *start = reader->data + offset;
	return start + length > reader->data_end ? 0 : start;
}

#define READ(type, offset) ((const type *)read_bytes(reader, (offset), sizeof(type), &(type){}))

struct size {
	u64 bytes, packets;
};

enum kind { IGNORED, COUNTED, UNATTRIBUTED, TRUNCATED };

struct outcome {
	enum kind kind;
	enum reason reason;
	u32 slot;
	u16 port;
	struct size size;
};

enum found_kind { FOUND_TRANSPORT, FOUND_OTHER, FOUND_REASON, FOUND_TRUNCATED };

struct found {
	enum found_kind kind;
	enum reason reason;
	u8 protocol;
	u64 offset;
	int is_fragment;
};

enum lengths_kind { LENGTHS, LENGTHS_WRONG, LENGTHS_TRUNCATED };

struct lengths {
	enum lengths_kind kind;
	u32 ip_bytes, header_bytes;
};

static const struct outcome ignored = { .kind = IGNORED };
static const struct outcome truncated = { .kind = TRUNCATED };

INLINE u32 available_bytes(const struct reader *reader, u64 ip)
{
	return *(volatile u32 *)&reader->skb->len - ip;
}

INLINE struct outcome unattributed_frame(const struct reader *reader, enum reason reason, u64 ip)
{
	return (struct outcome){ .kind = UNATTRIBUTED, .reason = reason, .size = { available_bytes(reader, ip), 1 } };
}

INLINE int is_counted(u8 protocol)
{
	return protocol == TCP || protocol == UDP;
}

INLINE int is_extension(u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT_HEADER ||
	       protocol == AUTHENTICATION || protocol == DESTINATION_OPTIONS;
}

INLINE struct found find_transport_v4(const struct reader *reader, u64 ip)
{
	const struct ipv4_header *header = READ(struct ipv4_header, ip);
	if (!header)
		return (struct found){ .kind = FOUND_TRUNCATED };
	u32 header_bytes = (header->version_and_length & 0x0f) * 4;
	if (header->version_and_length >> 4 != 4 || header_bytes < sizeof(*header))
		return (struct found){ .kind = FOUND_REASON, .reason = MALFORMED };
	u8 protocol = header->protocol;
	if (!is_counted(protocol))
		return (struct found){ .kind = FOUND_OTHER };
	u16 fragment = be16(header->fragment);
	if (fragment & 0x1fff)
		return (struct found){ .kind = FOUND_REASON, .reason = FRAGMENT };
	return (struct found){ FOUND_TRANSPORT, 0, protocol, ip + header_bytes, (fragment & 0x2000) != 0 };
}

INLINE struct found find_transport_v6(const struct reader *reader, u64 ip)
{
	const struct ipv6_header *header = READ(struct ipv6_header, ip);
	if (!header)
		return (struct found){ .kind = FOUND_TRUNCATED };
	if (header->version >> 4 != 6)
		return (struct found){ .kind = FOUND_REASON, .reason = MALFORMED };
	u8 protocol = header->next_header;
	u64 offset = ip + sizeof(*header);
	int is_fragment = 0;
	for (int i = 0; i <= EXTENSION_HEADERS_MAX; i++) {
		if (is_counted(protocol))
			return (struct found){ FOUND_TRANSPORT, 0, protocol, offset, is_fragment };
		if (!is_extension(protocol))
			return (struct found){ .kind = FOUND_OTHER };
		const struct extension_header *extension = READ(struct extension_header, offset);
		if (!extension)
			return (struct found){ .kind = FOUND_TRUNCATED };
		u8 next = extension->next_header;
		if (protocol == FRAGMENT_HEADER) {
			u16 fragment = be16(extension->fragment);
			if (fragment & 0xfff8) {
				if (is_counted(next) || is_extension(next))
					return (struct found){ .kind = FOUND_REASON, .reason = FRAGMENT };
				return (struct found){ .kind = FOUND_OTHER };
			}
			is_fragment |= fragment & 1;
			offset += 8;
		} else if (protocol == AUTHENTICATION) {
			offset += (extension->length + 2) * 4;
		} else {
			offset += (extension->length + 1) * 8;
		}
		protocol = next;
	}
	return (struct found){ .kind = FOUND_REASON, .reason = HEADER_CHAIN };
}

/* 1: local, 0: not, -1: the packet ends before the address. */
INLINE int is_local(const struct reader *reader, u64 ip, int version)
{
	if (version == 4) {
		const u32 *address = READ(u32, ip + __builtin_offsetof(struct ipv4_header, destination));
		if (!address)
			return -1;
		u32 key = *address;
		return (key & 0xff) == 127 || bpf_map_lookup_elem(&local_addresses_v4, &key) != 0;
	}
	const struct ipv6_address *address =
		READ(struct ipv6_address, ip + __builtin_offsetof(struct ipv6_header, destination));
	if (!address)
		return -1;
	struct ipv6_address key = *address;
	return bpf_map_lookup_elem(&local_addresses_v6, &key) != 0;
}

INLINE struct lengths lengths_v4(const struct reader *reader, u64 ip, u32 header_bytes, u32 gso_size)
{
	u32 available = available_bytes(reader, ip);
	const u16 *total_length = READ(u16, ip + __builtin_offsetof(struct ipv4_header, total_length));
	if (!total_length)
		return (struct lengths){ .kind = LENGTHS_TRUNCATED };
	u32 ip_bytes = be16(*total_length);
	if (ip_bytes == 0 && gso_size)
		ip_bytes = available;
	return (struct lengths){ ip_bytes <= available ? LENGTHS : LENGTHS_WRONG, ip_bytes, header_bytes };
}

INLINE struct lengths lengths_v6(const struct reader *reader, u64 ip, u32 header_bytes, u32 gso_size)
{
	u32 available = available_bytes(reader, ip);
	const u16 *payload_length = READ(u16, ip + __builtin_offsetof(struct ipv6_header, payload_length));
	if (!payload_length)
		return (struct lengths){ .kind = LENGTHS_TRUNCATED };
	u32 payload_bytes = be16(*payload_length);
	if (payload_bytes) {
		u32 ip_bytes = sizeof(struct ipv6_header) + payload_bytes;
		return (struct lengths){ ip_bytes <= available ? LENGTHS : LENGTHS_WRONG, ip_bytes, header_bytes };
	}
	int has_jumbo_header = 0;
	const u8 *next_header = READ(u8, ip + __builtin_offsetof(struct ipv6_header, next_header));
	if (!next_header)
		return (struct lengths){ .kind = LENGTHS_TRUNCATED };
	if (*next_header == HOP_BY_HOP) {
		const struct extension_header *extension = READ(struct extension_header, ip + sizeof(struct ipv6_header));
		if (!extension)
			return (struct lengths){ .kind = LENGTHS_TRUNCATED };
		has_jumbo_header = extension->length == 0 && extension->fragment == 0x04c2;
	}
	if (gso_size && has_jumbo_header)
		return (struct lengths){ LENGTHS, available - 8, header_bytes - 8 };
	return (struct lengths){ gso_size || has_jumbo_header ? LENGTHS : LENGTHS_WRONG, available, header_bytes };
}

INLINE struct lengths lengths(const struct reader *reader, u64 ip, int version, u32 header_bytes, u32 gso_size)
{
	return version == 4 ? lengths_v4(reader, ip, header_bytes, gso_size) :
			      lengths_v6(reader, ip, header_bytes, gso_size);
}

INLINE struct outcome unattributed_if_local(const struct reader *reader, enum reason reason, u64 ip, int version)
{
	int local = is_local(reader, ip, version);
	if (local < 0)
		return truncated;
	if (!local)
		return ignored;
	struct lengths length = lengths(reader, ip, version, 0, 0);
	if (length.kind == LENGTHS_TRUNCATED)
		return truncated;
	if (length.kind == LENGTHS_WRONG)
		return unattributed_frame(reader, reason, ip);
	return (struct outcome){ .kind = UNATTRIBUTED, .reason = reason, .size = { length.ip_bytes, 1 } };
}

/* packets 0: the lengths are wrong; -1: the packet ends too early. */
INLINE struct size wire_size(const struct reader *reader, u64 ip, int version, const struct found *found)
{
	static const struct size wrong = { 0, 0 }, cut = { 0, -1 };
	u32 gso_size = *(volatile u32 *)&reader->skb->gso_size;
	struct lengths length = lengths(reader, ip, version, found->offset - ip, gso_size);
	if (length.kind == LENGTHS_TRUNCATED)
		return cut;
	if (length.kind == LENGTHS_WRONG)
		return wrong;
	if (found->is_fragment) {
		if (length.ip_bytes < length.header_bytes + sizeof(struct ports))
			return wrong;
		return (struct size){ length.ip_bytes, 1 };
	}
	u32 transport_bytes = 8;
	if (found->protocol == TCP) {
		const u8 *data_offset = READ(u8, found->offset + 12);
		if (!data_offset)
			return cut;
		transport_bytes = (*data_offset >> 4) * 4;
		if (transport_bytes < 20)
			return wrong;
	}
	u32 header_bytes = length.header_bytes + transport_bytes;
	if (length.ip_bytes < header_bytes)
		return wrong;
	u32 payload_bytes = length.ip_bytes - header_bytes;
	if (gso_size == 0 || payload_bytes <= gso_size)
		return (struct size){ length.ip_bytes, 1 };
	u32 packets = (payload_bytes + gso_size - 1) / gso_size;
	return (struct size){ length.ip_bytes + (u64)(packets - 1) * header_bytes, packets };
}

INLINE struct outcome examine_ip(const struct reader *reader, u64 ip, int version)
{
	struct found found = version == 4 ? find_transport_v4(reader, ip) : find_transport_v6(reader, ip);
	if (found.kind == FOUND_TRUNCATED)
		return truncated;
	if (found.kind == FOUND_OTHER)
		return ignored;
	if (found.kind == FOUND_REASON)
		return unattributed_if_local(reader, found.reason, ip, version);
	const struct ports *ports = READ(struct ports, found.offset);
	if (!ports)
		return truncated;
	u16 port = be16(ports->destination);
	u32 key = port;
	s32 *entry = bpf_map_lookup_elem(&port_slots, &key);
	if (!entry || *entry <= 0)
		return ignored;
	u32 slot = *entry - 1;
	struct size size = wire_size(reader, ip, version, &found);
	if (size.packets == (u64)-1)
		return truncated;
	int local = is_local(reader, ip, version);
	if (local < 0)
		return truncated;
	if (size.packets == 0)
		return unattributed_frame(reader, local ? MALFORMED : FORWARDED, ip);
	if (!local)
		return (struct outcome){ .kind = UNATTRIBUTED, .reason = FORWARDED, .size = size };
	return (struct outcome){ .kind = COUNTED, .slot = slot, .port = port, .size = size };
}

/* 4, 6: the version of the IP header at *ip; 0: something else; -1: too many tags; -2: the packet ends too early. */
INLINE int find_network(const struct reader *reader, u64 *ip)
{
	u64 offset = ETHERNET_HEADER_BYTES - sizeof(u16);
	for (int i = 0; i <= VLAN_TAGS_MAX; i++) {
		const u16 *ether_type = READ(u16, offset);
		if (!ether_type)
			return -2;
		*ip = offset + sizeof(u16);
		switch (*ether_type) {
		case be16(0x0800):
			return 4;
		case be16(0x86dd):
			return 6;
		case be16(0x8100):
		case be16(0x88a8):
		case be16(0x9100):
			offset += 4;
			break;
		default:
			return 0;
		}
	}
	return -1;
}

INLINE struct outcome examine(const struct reader *reader)
{
	u64 ip;
	switch (find_network(reader, &ip)) {
	case 4:
		return examine_ip(reader, ip, 4);
	case 6:
		return examine_ip(reader, ip, 6);
	case -1:
		return unattributed_frame(reader, HEADER_CHAIN, 0);
	case -2:
		return truncated;
	default:
		return ignored;
	}
}

INLINE struct outcome cut_short(const struct reader *reader)
{
	u64 ip;
	struct outcome outcome = truncated;
	int version = find_network(reader, &ip);
	if (version == 4)
		outcome = unattributed_if_local(reader, MALFORMED, ip, 4);
	else if (version == 6)
		outcome = unattributed_if_local(reader, MALFORMED, ip, 6);
	return outcome.kind == TRUNCATED ? unattributed_frame(reader, MALFORMED, 0) : outcome;
}

INLINE void add_to_unattributed(enum reason reason, struct size size)
{
	u32 key = reason;
	struct unattributed_value *value = bpf_map_lookup_elem(&unattributed, &key);
	if (!value)
		return;
	value->packets += size.packets;
	value->bytes += size.bytes;
}

INLINE void book(struct outcome outcome)
{
	if (outcome.kind == UNATTRIBUTED)
		add_to_unattributed(outcome.reason, outcome.size);
	if (outcome.kind != COUNTED)
		return;
	u32 slot_capacity = SLOT_CAPACITY;
	if (outcome.slot >= slot_capacity) {
		add_to_unattributed(SLOT_MISSING, outcome.size);
		return;
	}
	u32 key = bpf_get_smp_processor_id() * slot_capacity + outcome.slot;
	struct port_counters_value *counters = bpf_map_lookup_elem(&port_counters, &key);
	if (!counters) {
		add_to_unattributed(SLOT_MISSING, outcome.size);
		return;
	}
	counters->rx_bytes += outcome.size.bytes;
	counters->rx_packets += outcome.size.packets;
	counters->port = outcome.port;
}

NOT_INLINE int count_whole(struct __sk_buff *skb)
{
	struct reader reader = { skb, 0, 0, 1 };
	struct outcome outcome = examine(&reader);
	if (outcome.kind == TRUNCATED)
		outcome = cut_short(&reader);
	book(outcome);
	return 0;
}

SECTION("classifier")
int portmeter_rx(struct __sk_buff *skb)
{
	struct reader reader = {
		skb,
		(u8 *)(long)*(volatile u32 *)&skb->data,
		(u8 *)(long)*(volatile u32 *)&skb->data_end,
		0,
	};
	struct outcome outcome = examine(&reader);
	if (outcome.kind == TRUNCATED)
		count_whole(skb);
	else
		book(outcome);
	return -1;
}

/* The floor: what it costs to run a program at all. */
SECTION("classifier")
int empty(struct __sk_buff *skb __attribute__((unused)))
{
	return -1;
}
