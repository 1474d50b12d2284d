"""How coarsely AV1 and HEVC quantised a picture, read from the headers of its first frame.

The names are those of the standards: AV1 Bitstream & Decoding Process Specification, sections 5.5 and 5.9; ITU-T H.265,
section 7.3.
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # types of AV1's open bitstream units
KEY, SELECT = 0, 2
SPS, PPS, STILL = 33, 34, (19, 20)  # types of HEVC's units; the last those of slices that need no other picture


class Bits:
    """Bits of a header, the highest of each byte first. Reading past the end raises IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, bits: int = 1) -> int:
        """Read an unsigned number."""
        value = 0
        for _ in range(bits):
            value = value * 2 + (self._data[self._at >> 3] >> (7 - self._at & 7) & 1)
            self._at += 1
        return value

    def golomb(self) -> int:
        """Read an unsigned number in the exponential code of Golomb, ue(v)."""
        zeros = 0
        while not self.number():
            zeros += 1
            if zeros > 32:
                raise ValueError("no number")
        return (1 << zeros) - 1 + self.number(zeros)

    def signed_golomb(self) -> int:
        """Read a signed number in the exponential code of Golomb, se(v)."""
        value = self.golomb()
        return (value + 1) // 2 if value % 2 else -value // 2


def av1_quantiser(data: bytes) -> int | None:
    """Return base_q_idx of the first frame, 0 (fine; may be lossless) to 255; None where it is not found."""
    try:
        sequence: AV1Sequence | None = None
        for kind, content in _units(data):
            if kind == SEQUENCE:
                sequence = AV1Sequence(Bits(content))
            elif kind in (FRAME, FRAME_HEADER) and sequence is not None:
                return _base_q_idx(Bits(content), sequence)
    except (IndexError, ValueError):
        pass
    return None


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and content of open bitstream units."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 1 + (head >> 2 & 1)  # an extension of one byte
        size = len(data) - at
        if head >> 1 & 1:
            size, shift = 0, 0
            while True:
                byte, at = data[at], at + 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        yield head >> 3 & 15, data[at : at + size]
        at += size


class AV1Sequence:
    """What a sequence header says, as far as a frame header cannot be read without it.

    Raises ValueError for one with timing, which pictures do not have.
    """

    def __init__(self, bits: Bits) -> None:
        bits.number(4)  # seq_profile, still_picture
        self.reduced = bool(bits.number())
        if self.reduced:
            bits.number(5)
        else:
            self._skip_operating_points(bits)
        self.width_bits, self.height_bits = bits.number(4) + 1, bits.number(4) + 1
        self.width, self.height = bits.number(self.width_bits) + 1, bits.number(self.height_bits) + 1
        self.frame_id_bits = 0
        if not self.reduced and bits.number():
            self.frame_id_bits = bits.number(4) + 2
            self.frame_id_bits += bits.number(3) + 1
        self.large_blocks = bool(bits.number())
        bits.number(2)  # enable_filter_intra, enable_intra_edge_filter
        self.screen_content = self.integer_motion = SELECT
        self.order_bits = 0
        if not self.reduced:
            self._read_tools(bits)
        self.superres = bool(bits.number())

    def _skip_operating_points(self, bits: Bits) -> None:
        if bits.number():
            raise ValueError("timing")
        delays = bits.number()
        for _ in range(bits.number(5) + 1):
            bits.number(12)
            if bits.number(5) > 7:
                bits.number()
            if delays and bits.number():
                bits.number(4)

    def _read_tools(self, bits: Bits) -> None:
        bits.number(4)  # interintra_compound, masked_compound, warped_motion, dual_filter
        order = bits.number()
        bits.number(2 * order)
        self.screen_content = SELECT if bits.number() else bits.number()
        if self.screen_content:
            self.integer_motion = SELECT if bits.number() else bits.number()
        if order:
            self.order_bits = bits.number(3) + 1


def _base_q_idx(bits: Bits, sequence: AV1Sequence) -> int:
    """Read the header of a key frame that is shown up to its quantiser."""
    if not sequence.reduced and (bits.number() or bits.number(2) != KEY or not bits.number()):
        raise ValueError("no key frame that is shown")
    no_update = bits.number()
    screen_content = bits.number() if sequence.screen_content == SELECT else sequence.screen_content
    if screen_content and sequence.integer_motion == SELECT:
        bits.number()
    bits.number(sequence.frame_id_bits)
    own_size = 0 if sequence.reduced else bits.number()
    bits.number(sequence.order_bits)
    width, height = sequence.width, sequence.height
    if own_size:
        width, height = bits.number(sequence.width_bits) + 1, bits.number(sequence.height_bits) + 1
    scaled = sequence.superres and bits.number()
    if scaled:
        width = (width * 8 + 4) // (bits.number(3) + 9)
    if bits.number():
        bits.number(32)  # the size at which it is to be shown
    if screen_content and not scaled:
        bits.number()
    if not (sequence.reduced or no_update):
        bits.number()
    _skip_tiles(bits, width, height, sequence.large_blocks)
    return bits.number(8)


def _skip_tiles(bits: Bits, width: int, height: int, large_blocks: bool) -> None:
    """Read over tile_info."""
    side = 128 if large_blocks else 64
    columns, rows = -(-(width + 7 & ~7) // side), -(-(height + 7 & ~7) // side)
    widest, largest = 4096 // side, 4096 * 2304 // side**2
    least = max(_log2(widest, columns), _log2(largest, columns * rows))
    if bits.number():  # of one size
        across, down = _log2(widest, columns), 0
        while across < _log2(1, min(columns, 64)) and bits.number():
            across += 1
        down = max(least - across, 0)
        while down < _log2(1, min(rows, 64)) and bits.number():
            down += 1
    else:
        across, widest_taken = _skip_sizes(bits, columns, widest)
        largest = columns * rows >> least + 1 if least else columns * rows
        down, _ = _skip_sizes(bits, rows, max(largest // widest_taken, 1))
    if across or down:
        bits.number(across + down + 2)  # context_update_tile_id, tile_size_bytes_minus_1


def _skip_sizes(bits: Bits, blocks: int, longest: int) -> tuple[int, int]:
    """Read over the lengths of tiles along an axis; return the logarithm of their number, and the longest."""
    taken, count, most = 0, 0, 0
    while taken < blocks:
        length = _non_symmetric(bits, min(blocks - taken, longest)) + 1
        taken, count, most = taken + length, count + 1, max(most, length)
    return _log2(1, count), most


def _non_symmetric(bits: Bits, limit: int) -> int:
    """Read a number below a limit, ns(n)."""
    size = limit.bit_length()
    short = (1 << size) - limit
    value = bits.number(size - 1)
    return value if value < short else value * 2 - short + bits.number()


def _log2(block: int, target: int) -> int:
    """Return the least k for which block << k reaches target."""
    k = 0
    while block << k < target:
        k += 1
    return k


def hevc_quantiser(data: bytes, config: bytes) -> int | None:
    """Return the quantisation parameter of the first slice, 0 (fine) to 51; None where it is not found.

    ``config`` is the content of the box hvcC, ``data`` units with their lengths before them.
    """
    try:
        headers = {_unit_type(unit): Bits(_unescaped(unit)) for unit in _configured(config)}
        size, at = (config[21] & 3) + 1, 0
        while at < len(data):
            end = at + size + int.from_bytes(data[at : at + size], "big")
            unit, at = data[at + size : end], end
            if _unit_type(unit) in STILL:
                return _slice_qp(Bits(_unescaped(unit)), headers[SPS], headers[PPS])
    except (LookupError, ValueError):
        pass
    return None


def _unit_type(unit: bytes) -> int:
    return unit[0] >> 1 & 63


def _unescaped(unit: bytes) -> bytes:
    """Return a unit's content, without its header and the bytes that keep it from looking like a start code."""
    return unit[2:].replace(b"\0\0\3", b"\0\0")


def _configured(config: bytes) -> Iterator[bytes]:
    """Yield the units in a decoder's configuration record (ISO/IEC 14496-15, 8.3.3)."""
    at = 23
    for _ in range(config[22]):
        count, at = int.from_bytes(config[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            end = at + 2 + int.from_bytes(config[at : at + 2], "big")
            yield config[at + 2 : end]
            at = end


def _slice_qp(bits: Bits, sps: Bits, pps: Bits) -> int:
    """Read the header of a picture's first slice up to slice_qp_delta."""
    pps.golomb(), pps.golomb()  # numbers of this and of the sequence's parameters
    pps.number()
    has_output_flag, extra = pps.number(), pps.number(3)
    pps.number(2)
    pps.golomb(), pps.golomb()
    qp = 26 + pps.signed_golomb()
    planes, offsets = _sequence_tools(sps)
    bits.number(2)  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag
    bits.golomb()
    bits.number(extra)
    bits.golomb()  # slice_type
    bits.number(has_output_flag)
    bits.number(2 if planes == 0 else 0)
    bits.number((2 if planes > 1 else 1) if offsets else 0)
    return qp + bits.signed_golomb()


def _sequence_tools(sps: Bits) -> tuple[int, bool]:
    """Return how many planes are coded together, 0 for each by itself, and if sample_adaptive_offset_enabled_flag."""
    sps.number(4)
    layers = sps.number(3)
    sps.number(1 + 96)
    present = [(sps.number(), sps.number()) for _ in range(8 if layers else 0)][:layers]
    sps.number(sum(88 * profile + 8 * level for profile, level in present))
    sps.golomb()
    chroma = sps.golomb()
    planes = 1 if chroma == 0 else 3
    if chroma == 3 and sps.number():
        planes = 0
    sps.golomb(), sps.golomb()  # width, height
    _golombs(sps, 4 if sps.number() else 0)  # the conformance window
    _golombs(sps, 3)  # bit depths, log2_max_pic_order_cnt_lsb
    _golombs(sps, 3 * (layers + 1 if sps.number() else 1))
    _golombs(sps, 6)  # sizes of blocks
    if sps.number() and sps.number():
        _skip_scaling_lists(sps)
    sps.number()
    return planes, bool(sps.number())


def _golombs(bits: Bits, count: int) -> None:
    for _ in range(count):
        bits.golomb()


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if bits.number():
                _golombs(bits, (size > 1) + min(64, 1 << 4 + 2 * size))
            else:
                bits.golomb()
