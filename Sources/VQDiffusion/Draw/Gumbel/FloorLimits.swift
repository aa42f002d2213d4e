/// The uniforms that classes at the floor of their columns have to exceed for their scores to beat
/// the best so far of a pixel.
struct FloorLimits<Noise: GumbelNoise>: ~Copyable {
    typealias V = Noise.Real.Vector

    /// Of each pixel a bound of the score but for the noise, relative to what the threshold is
    /// relative to.
    private let bounds: Scratch<Noise.Real>
    private let uniforms: Scratch<Noise.Uniform.Real>
    private let isEmpty: Bool

    /// - Parameter groups: of sixteen pixels; none where there is no floor.
    init(groups: Int) throws(ArgumentError) {
        let bounds = try Scratch<Noise.Real>(groups * 16)
        let uniforms = try Scratch<Noise.Uniform.Real>(groups * 16, filledWith: -.infinity)
        self.bounds = bounds
        self.uniforms = uniforms
        isEmpty = groups == 0
    }

    func set(_ bound: V, at: Int) { bound.store(at: bounds.pointer + at) }

    /// Whether a class at the floor may win at one of sixteen pixels.
    @inline(__always)
    func areExceeded(by u: Noise.Uniform.Real.Vector, at: Int) -> Bool {
        u.lanes(above: .init(at: uniforms.pointer + at)) != 0
    }

    /// - Parameter threshold: what a bound with its noise has to exceed.
    @inline(__always)
    func raise(at: Int, threshold: V) {
        guard !isEmpty else { return }
        Noise.uniform(boundedBy: threshold - V(at: bounds.pointer + at)).store(
            at: uniforms.pointer + at)
    }

    @inline(__always)
    func raise(pixel: Int, threshold: V) {
        guard !isEmpty else { return }
        uniforms[pixel] = Noise.uniform(boundedBy: threshold - V(repeating: bounds[pixel]))[0]
    }
}
